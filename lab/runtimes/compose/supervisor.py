"""`python -m lab.runtimes.compose.supervisor`: watches the containers of one lab, and breaks them when told.

Compose has started them and will end them; the engine starts again what crashes. This process keeps lab.json true,
writes the log files, and answers the same control API as the other runtime's supervisor. If it dies the shop goes
on, and `lab up` starts all anew. Its order comes on stdin, as there (lab.runtimes.supervisor).
"""

import asyncio
import json
import os
import signal
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp

from lab import topology as topologies
from lab.runtimes import pids
from lab.runtimes.compose.container import Container
from lab.runtimes.compose.engine import SERVICE_LABEL, Engine, EngineRefused
from lab.runtimes.compose.environment import (
    compose_of,
    write_inside,
    write_override,
)
from lab.runtimes.compose.following import Following
from lab.runtimes.compose.parts import plan_of, service_of
from lab.runtimes.compose.wiring import PROXY, ContainerWiring
from lab.runtimes.keeper import Keeper, State
from lab.runtimes.logs import explain
from lab.runtimes.process_faults import ProcessFault, ProcessFaults
from lab.runtimes.supervisor import Failed, alive, keep_up, run
from lab.state import Entry, Lab
from lab.topology import Topology

UP_S = 300.0
LISTEN_AGAIN_S = 1.0
IGNORED = ("locust-master", "locust-worker", "jupyter")  # started by hand, watched by nobody


class ComposeSupervisor:
    """The containers of one project. Needs a running event loop."""

    def __init__(self, lab: Lab, topology: Topology, endpoint: str, profile: str) -> None:
        self.lab = lab
        self.topology = topology
        self.keepers: dict[str, Keeper] = {}
        self.faults = ProcessFaults(self._tell_fault)
        self.stop = asyncio.Event()
        self.up = False
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

    async def status(self, *, live: bool) -> dict[str, Any]:
        """As of the other runtime's supervisor; `live` asks each one that should be ready."""
        keepers = list(self.keepers.values())
        processes = [keeper.facts() for keeper in keepers]
        if live:
            answers = await asyncio.gather(*(alive(keeper) for keeper in keepers))
            for facts, answered in zip(processes, answers, strict=True):
                if facts["state"] == "ready" and not answered:
                    facts["state"] = "unready"
        return {
            "up": self.up,
            "ready": self.up and all(each["state"] == "ready" for each in processes),
            "uptime_s": round(time.time() - self.lab.started_s, 1),
            "port_base": self.lab.port_base,
            "home": self.lab.home,
            "processes": processes,
        }

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
            self.keepers["nginx"].send(signal.SIGHUP, restart=True)

    async def restart(self, keepers: list[Keeper]) -> None:
        """Stop in good order, start again at once, wait until ready."""
        await asyncio.gather(*(keeper.stop() for keeper in keepers))
        for keeper in keepers:
            keeper.start()
        await asyncio.gather(*(keeper.ready() for keeper in keepers))

    def instances(self, service: str) -> list[Keeper]:
        """Of one service, by number."""
        found = [each for each in self.keepers.values() if each.plan.service == service]
        return sorted(found, key=lambda keeper: keeper.plan.port)

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
            if (
                keeper.plan.name == PROXY and self.up
            ):  # it may have another address now: nginx looks once
                self.keepers["nginx"].send(signal.SIGHUP, restart=True)
        if event["Action"] == "oom":
            self.log("error", f"{keeper.plan.name} used more memory than it may")
        await keeper.hear(event)

    async def _compose(self, *arguments: str) -> None:
        compose = compose_of(self._home, self._profile, proxied=self.lab.proxied)
        await asyncio.to_thread(compose.run, *arguments)

    # -- book-keeping -----------------------------------------------------------------------------

    def _changed(self, keeper: Keeper) -> None:
        name, state = keeper.plan.name, str(keeper.state)
        self._save()
        if not self.up:
            self.tell({"name": name, "state": state, "after_s": keeper.ready_after_s})
        if keeper.state is State.BACKOFF:
            how = keeper.problem or f"ended with {keeper.last_exit}"
            self.log("warning", f"{name} {how}; the engine starts it again", process=name)
        else:
            self.log("info", f"{name} is {state}", process=name, pid=keeper.pid)

    def _save(self) -> None:
        """lab.json for everybody here, and one for the containers of the lab's own."""
        self.lab.servers = [Entry("supervisor", os.getpid(), pids.identity(os.getpid()))]
        self.lab.instances = []
        for name, keeper in self.keepers.items():
            plan = keeper.plan
            address = f"http://127.0.0.1:{plan.port}" if plan.service else f"127.0.0.1:{plan.port}"
            entry = Entry(name, keeper.pid, keeper.identity, plan.service, address)
            (self.lab.instances if plan.service else self.lab.servers).append(entry)
        try:
            self.lab.save()
            write_inside(self.lab, self.topology)
        except OSError as error:
            self.log("error", f"lab.json could not be written: {error}")

    def _tell_fault(self, fault: ProcessFault, phase: str) -> None:
        view = fault.view()
        fault_id, name = view.pop("id"), view["target"]
        self.log(
            *("warning", f"{fault.kind} of {name}: {phase}"),
            **{"event": "fault", "phase": phase, "fault_id": fault_id, **view},
        )

    def log(self, level: str, message: str, **fields: Any) -> None:
        """One line of logs/supervisor.jsonl."""
        line = {"time": time.time(), "level": level, "service": "lab", "instance": "supervisor"}
        print(json.dumps({**line, "message": message, **fields}), file=sys.stderr, flush=True)

    def tell(self, progress: dict[str, Any]) -> None:
        with suppress(OSError, ValueError):  # whoever listened is gone: the end of stdin says so
            print(json.dumps(progress), flush=True)


async def supervise(order: dict[str, Any], reader: asyncio.StreamReader) -> int:
    lab = Lab(**order["lab"])
    topology = topologies.load(Path(lab.topology))
    supervisor = ComposeSupervisor(lab, topology, order["endpoint"], order["profile"])
    return await keep_up(supervisor, reader)


if __name__ == "__main__":
    sys.exit(asyncio.run(run(supervise)))
