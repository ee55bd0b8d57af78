"""`python -m lab.runtimes.compose.supervisor`: watches the containers of one lab, and breaks them when told.

Compose has started them and will end them; the engine starts again what crashes. This process keeps lab.json true,
writes the log files, and answers the same control API as the other runtime's supervisor. If it dies the shop goes
on, and `lab up` starts all anew. Its life is as there: lab.runtimes.supervisor.main.
"""

import asyncio
import signal
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp

from lab import topology as topologies
from lab.runtimes.compose.container import Container
from lab.runtimes.compose.engine import SERVICE_LABEL, Engine, EngineRefused
from lab.runtimes.compose.environment import (
    compose_of,
    write_inside,
    write_override,
)
from lab.runtimes.compose.log_follower import Following
from lab.runtimes.compose.proxy_config import PROXY, ContainerWiring
from lab.runtimes.compose.specs import plan_of, service_of
from lab.runtimes.logs import explain
from lab.runtimes.supervisor.base import Failed, Supervising
from lab.runtimes.supervisor.main import live
from lab.runtimes.supervisor.managed_process import Keeper, State
from lab.state import Lab
from lab.topology import Topology

UP_S = 300.0
LISTEN_AGAIN_S = 1.0
IGNORED = ("locust-master", "locust-worker", "jupyter")  # started by hand, watched by nobody


class ComposeSupervisor(Supervising):
    """The containers of one project. Needs a running event loop."""

    def __init__(self, lab: Lab, topology: Topology, endpoint: str, profile: str) -> None:
        super().__init__(lab, topology)
        self._began = time.monotonic()
        self._home = Path(lab.home)
        self._profile = profile
        self._engine = Engine(endpoint)
        self._following: dict[str, Following] = {}
        self._listening: asyncio.Task[None] | None = None
        self._wiring = ContainerWiring(lab, topology)
        self._ports = dict(topology.ports(lab.port_base))

    # -- life -------------------------------------------------------------------------------

    async def start(self) -> None:
        """All containers known, followed and ready. Raises Failed."""
        self._listening = asyncio.create_task(self._listen())
        try:
            await self._find(since_s=0.0)
        except EngineRefused as error:
            raise Failed([str(error)]) from None
        slow = [each for each in self.keepers.values() if not await each.ready(self._left())]
        if slow:
            raise Failed([self._why(each) for each in slow])
        self.up = True

    async def shut_down(self) -> None:
        """Let go of the containers; compose ends them."""
        self.up = False
        if self._listening is not None:
            self._listening.cancel()
        for following in self._following.values():
            await following.close()
        await self._engine.close()
        self.lab.path.unlink(missing_ok=True)

    def _left(self) -> float:
        return max(1.0, UP_S - (time.monotonic() - self._began))

    def _why(self, keeper: Keeper) -> str:
        why = keeper.problem or (
            f"ended with {keeper.last_exit}" if keeper.last_exit is not None else "is not ready"
        )
        return f"{keeper.plan.name}: {why}; {keeper.plan.log} says:\n{explain(keeper.plan.log)}"

    # -- what the control API does ------------------------------------------------------------

    async def scale(self, name: str, replicas: int) -> list[Keeper]:
        """Run this many instances; returns when new ones are ready or have failed."""
        mine = self.instances(name)
        removed = mine[replicas:]
        wanted = [f"{name}-{number + 1}" for number in range(replicas)]
        others = [k for k, v in self.keepers.items() if v.plan.service not in ("", name)]
        write_override(self.lab, self.topology, [*others, *wanted])
        if new := [each for each in wanted if each not in self.keepers]:
            await self._compose("up", "--detach", "--no-build", "--no-deps", "--no-recreate", *new)
        if removed:
            names = [each.plan.name for each in removed]
            for each in removed:
                del self.keepers[each.plan.name]
            await self._compose("rm", "--stop", "--force", *names)
        await self._find(since_s=self.lab.started_s)
        await self._wire([*others, *wanted])
        kept = self.instances(name)
        for keeper in kept:
            if keeper.state is State.STOPPED:
                keeper.start()
        await asyncio.gather(*(keeper.ready() for keeper in kept))
        self._save()
        return kept

    async def _wire(self, instances: list[str]) -> None:
        """The fault proxy and nginx follow the instances, in a proxied lab."""
        await self._wiring.follow(instances)
        if self.lab.proxied:
            self._ingress_looks_again()

    def _ingress_looks_again(self) -> None:
        """nginx asks for its upstreams' addresses once, when it reads its configuration."""
        if self.up:
            with suppress(ProcessLookupError):  # it is not running: it will ask when it starts
                self.keepers["nginx"].send(signal.SIGHUP, restart=True)

    def edge_ports(self, instance: str) -> dict[str, int]:
        """Edges are listeners of the proxy's container: they take no port of the host."""
        return {}

    # -- the engine ---------------------------------------------------------------------------

    async def _find(self, since_s: float) -> None:
        """Take over every container of the project that is not known yet."""
        for found in await self._engine.containers(self.lab.project):
            name = found["Labels"][SERVICE_LABEL]
            if name in IGNORED:
                continue
            known = self.keepers.get(name)
            if isinstance(known, Container) and known.container == found["Id"]:
                continue
            await self._take_over(name, found["Id"], found["Image"], since_s)
        self._save()

    async def _take_over(self, name: str, container: str, image: str, since_s: float) -> None:
        if service := service_of(name, self.topology):
            number = int(name.rpartition("-")[2])
            first = self.lab.port_base + self.topology.services[service].offset
            self._ports[name] = first + number - 1
        healthy = partial(self._engine.healthy, container)
        plan = plan_of(name, self.topology, self._ports, self._home / "logs", healthy)
        keeper = Container(plan, container, self._engine, self._changed)
        if name == PROXY or plan.service == self.topology.ingress.balances:
            keeper.on_move = self._ingress_looks_again
        self.keepers[name] = keeper
        self.lab.images[name] = image
        if old := self._following.pop(name, None):
            await old.close()
        heard_s = plan.log.stat().st_mtime if plan.log.exists() else since_s
        self._following[name] = Following(self._engine, container, plan.log, heard_s)
        await keeper.look()

    async def _listen(self) -> None:
        """Hear what happens to the containers, for ever; look at each again after a pause in hearing."""
        while True:
            try:
                async for event in self._engine.events(self.lab.project):
                    await self._hear(event)
            except (aiohttp.ClientError, EngineRefused, OSError) as error:
                self.log("error", f"the engine is not heard any more: {error}")
            await asyncio.sleep(LISTEN_AGAIN_S)
            for keeper in list(self.keepers.values()):
                if isinstance(keeper, Container):
                    await keeper.look()

    async def _hear(self, event: dict[str, Any]) -> None:
        keeper = self.keepers.get(event["Actor"]["Attributes"].get(SERVICE_LABEL, ""))
        if not isinstance(keeper, Container) or keeper.container != event["Actor"]["ID"]:
            return
        if event["Action"] == "start":
            self._following[keeper.plan.name].started(event["timeNano"] / 1e9)
        if event["Action"] == "oom":
            self.log("error", f"{keeper.plan.name} used more memory than it may")
        await keeper.hear(event)

    async def _compose(self, *arguments: str) -> None:
        compose = compose_of(self._home, self._profile, proxied=self.lab.proxied)
        await asyncio.to_thread(compose.run, *arguments)

    # -- book-keeping -----------------------------------------------------------------------------

    def _next(self, keeper: Keeper) -> str:
        return "the engine starts it again"

    def _write(self) -> None:
        super()._write()
        write_inside(self.lab, self.topology)  # one for the containers of the lab's own


def made(order: dict[str, Any]) -> ComposeSupervisor:
    """As its order has it."""
    lab = Lab(**order["lab"])
    topology = topologies.load(Path(lab.topology))
    return ComposeSupervisor(lab, topology, order["endpoint"], order["profile"])


if __name__ == "__main__":
    sys.exit(asyncio.run(live(made)))
