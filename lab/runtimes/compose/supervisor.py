"""`python -m lab.runtimes.compose.supervisor`: observes the containers of one lab, and breaks them on request.

Compose starts and stops the containers; the engine restarts those that crash. This process updates lab.json,
writes the log files, and has the same control API as the supervisor of processes. If it dies, the shop continues,
and `lab up` starts a new lab. Its main function is lab.runtimes.supervisor.main.
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
from lab.runtimes.compose.engine import SERVICE_LABEL, Engine, EngineRefusedError
from lab.runtimes.compose.environment import compose_of, write_inside, write_override
from lab.runtimes.compose.log_follower import LogFollower
from lab.runtimes.compose.proxy_config import PROXY, ContainerProxyConfig
from lab.runtimes.compose.specs import service_of, spec_of
from lab.runtimes.logs import explain
from lab.runtimes.supervisor.base import StartFailedError, Supervisor
from lab.runtimes.supervisor.main import run
from lab.runtimes.supervisor.managed_process import ManagedProcess, State
from lab.state import Lab
from lab.topology import Topology

UP_S = 300.0
RECONNECT_S = 1.0
IGNORED = ("locust-master", "locust-worker", "jupyter")  # started by hand, not supervised


class ComposeSupervisor(Supervisor):
    """Supervises the containers of one project. Requires a running event loop."""

    processes: dict[str, Container]

    def __init__(self, lab: Lab, topology: Topology, endpoint: str, profile: str) -> None:
        super().__init__(lab, topology)
        self._began = time.monotonic()
        self._home = Path(lab.home)
        self._profile = profile
        self._engine = Engine(endpoint)
        self._following: dict[str, LogFollower] = {}
        self._listening: asyncio.Task[None] | None = None
        self._proxy_config = ContainerProxyConfig(lab, topology)
        self._ports = dict(topology.ports(lab.port_base))

    # -- life -------------------------------------------------------------------------------

    async def start(self) -> None:
        """Find and follow all containers, and wait until they are ready. Raises StartFailedError."""
        self._listening = asyncio.create_task(self._listen())
        try:
            await self._find(since_s=0.0)
        except EngineRefusedError as error:
            raise StartFailedError([str(error)]) from None
        slow = [each for each in self.processes.values() if not await each.wait_ready(self._left())]
        if slow:
            raise StartFailedError([self._why(each) for each in slow])
        self.up = True

    async def shut_down(self) -> None:
        """Stop following the containers; compose stops them."""
        self.up = False
        if self._listening is not None:
            self._listening.cancel()
        for following in self._following.values():
            await following.close()
        await self._engine.close()
        self.lab.path.unlink(missing_ok=True)

    def _left(self) -> float:
        return max(1.0, UP_S - (time.monotonic() - self._began))

    def _why(self, process: ManagedProcess) -> str:
        why = process.problem or (
            f"ended with {process.last_exit}" if process.last_exit is not None else "is not ready"
        )
        return f"{process.spec.name}: {why}; from {process.spec.log}:\n{explain(process.spec.log)}"

    # -- requests of the control API ----------------------------------------------------------

    async def scale(self, name: str, replicas: int) -> list[ManagedProcess]:
        """Run this many instances; returns when the new ones are ready or have failed."""
        mine = self.instances(name)
        removed = mine[replicas:]
        wanted = [f"{name}-{number + 1}" for number in range(replicas)]
        others = [k for k, v in self.processes.items() if v.spec.service not in ("", name)]
        write_override(self.lab, self.topology, [*others, *wanted])
        if new := [each for each in wanted if each not in self.processes]:
            await self._compose("up", "--detach", "--no-build", "--no-deps", "--no-recreate", *new)
        if removed:
            names = [each.spec.name for each in removed]
            for each in removed:
                del self.processes[each.spec.name]
            await self._compose("rm", "--stop", "--force", *names)
        await self._find(since_s=self.lab.started_s)
        await self._update_proxy([*others, *wanted])
        kept = self.instances(name)
        for process in kept:
            if process.state is State.STOPPED:
                process.start()
        await asyncio.gather(*(process.wait_ready() for process in kept))
        self._save()
        return kept

    async def _update_proxy(self, instances: list[str]) -> None:
        """In a proxied lab, update the fault proxy and nginx for these instances."""
        await self._proxy_config.follow(instances)
        if self.lab.proxied:
            self._reload_ingress()

    def _reload_ingress(self) -> None:
        """nginx resolves its upstreams' names only when it reads its configuration."""
        if self.up:
            with suppress(ProcessLookupError):  # nginx is down: it resolves them when it starts
                self.processes["nginx"].send(signal.SIGHUP, restart=True)

    def edge_ports(self, instance: str) -> dict[str, int]:
        """None: edges are listeners inside the proxy's container."""
        return {}

    # -- the engine ---------------------------------------------------------------------------

    async def _find(self, since_s: float) -> None:
        """Take over every new container of the project."""
        for found in await self._engine.containers(self.lab.project):
            name = found["Labels"][SERVICE_LABEL]
            if name in IGNORED:
                continue
            known = self.processes.get(name)
            if known is not None and known.container == found["Id"]:
                continue
            await self._take_over(name, found["Id"], found["Image"], since_s)
        self._save()

    async def _take_over(self, name: str, container: str, image: str, since_s: float) -> None:
        if service := service_of(name, self.topology):
            number = int(name.rpartition("-")[2])
            first = self.lab.port_base + self.topology.services[service].offset
            self._ports[name] = first + number - 1
        healthy = partial(self._engine.healthy, container)
        spec = spec_of(name, self.topology, self._ports, self._home / "logs", healthy)
        process = Container(spec, container, self._engine, self._changed)
        if name == PROXY or spec.service == self.topology.ingress.balances:
            process.on_move = self._reload_ingress
        self.processes[name] = process
        self.lab.images[name] = image
        if old := self._following.pop(name, None):
            await old.close()
        copied_s = spec.log.stat().st_mtime if spec.log.exists() else since_s
        self._following[name] = LogFollower(self._engine, container, spec.log, copied_s)
        await process.refresh()

    async def _listen(self) -> None:
        """Handle the engine's events for ever; refresh every container after a lost connection."""
        while True:
            try:
                async for event in self._engine.events(self.lab.project):
                    await self._handle(event)
            except (aiohttp.ClientError, EngineRefusedError, OSError) as error:
                self.log("error", f"the connection to the engine was lost: {error}")
            await asyncio.sleep(RECONNECT_S)
            for process in list(self.processes.values()):
                await process.refresh()

    async def _handle(self, event: dict[str, Any]) -> None:
        process = self.processes.get(event["Actor"]["Attributes"].get(SERVICE_LABEL, ""))
        if process is None or process.container != event["Actor"]["ID"]:
            return
        if event["Action"] == "start":
            self._following[process.spec.name].started(event["timeNano"] / 1e9)
        if event["Action"] == "oom":
            self.log("error", f"{process.spec.name} used more memory than its limit")
        await process.handle(event)

    async def _compose(self, *arguments: str) -> None:
        compose = compose_of(self._home, self._profile, proxied=self.lab.proxied)
        await asyncio.to_thread(compose.run, *arguments)

    # -- book-keeping -----------------------------------------------------------------------------

    def _after_exit(self, process: ManagedProcess) -> str:
        return "the engine starts it again"

    def _write(self) -> None:
        super()._write()
        write_inside(self.lab, self.topology)  # a copy for the lab's own containers


def create(order: dict[str, Any]) -> ComposeSupervisor:
    """The supervisor that the order describes."""
    lab = Lab(**order["lab"])
    topology = topologies.load(Path(lab.topology))
    return ComposeSupervisor(lab, topology, order["endpoint"], order["profile"])


if __name__ == "__main__":
    sys.exit(asyncio.run(run(create)))
