"""`python -m lab.runtimes.supervisor`: the detached parent of everything in a lab.

Told what to do by one JSON line on stdin; until `release` follows there, the end of stdin is its own end, so that
nothing survives a `lab up` that was interrupted. Tells its progress on stdout, a JSON object a line:

    {"name": "orders-1", "state": "ready", "after_s": 1.2}
    {"up": seconds} | {"failed": [problem, ...]}
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from lab import topology as topologies
from lab.runtimes import httpd, pids
from lab.runtimes.binaries import ServerMissing
from lab.runtimes.children import Children
from lab.runtimes.control import Control, Supervision
from lab.runtimes.keeper import Keeper, Plan, State
from lab.runtimes.logs import explain
from lab.runtimes.plans import Plans, preload
from lab.runtimes.process_faults import ProcessFault, ProcessFaults
from lab.runtimes.programs import Forked, programs
from lab.runtimes.servers import ServerFailed
from lab.state import Entry, Lab
from lab.topology import Topology

SERVICE_STOP_S = 1.2
STORE_STOP_S = 3.0
LIVE_S = 0.5
PROXY_RESTART_DELAY_S = 0.05


class Failed(Exception):
    """The lab cannot come up: one problem a line."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(self.problems))


class Supervisor:
    """Starts, keeps and stops the processes of one lab. Needs a running event loop."""

    def __init__(self, lab: Lab, topology: Topology, restart_delay_s: float) -> None:
        self.lab = lab
        self.topology = topology
        self.keepers: dict[str, Keeper] = {}
        self.faults = ProcessFaults(self._tell_fault)
        self.up = False
        self.stop = asyncio.Event()
        self._restart_delay_s = restart_delay_s
        self._began = time.monotonic()
        self._logs = Path(lab.home) / "logs"
        self._children = Children()
        self._programs = programs(
            self._children,
            preload(topology, proxied=lab.proxied, watched="watch" in lab.addresses),
            self._logs / "zygote.log",
        )
        self._plans = Plans(lab, topology, self._children, self._programs)
        self._told = sys.stdout

    # -- life -------------------------------------------------------------------------------

    async def start(self) -> None:
        """Everything up and ready. Raises Failed."""
        if isinstance(self._programs, Forked):
            self._programs.on_change = lambda _pid: self._save()
            self._programs.zygote()  # imports while the servers start
        services = self.topology.services.values()
        instances = [
            self._add(self._plans.instance(service, number))
            for service in services
            for number in range(1, service.replicas + 1)
        ]
        self._plans.write_nginx_conf(self._gateway_ports())
        self._scrape()
        tools = [self._add(plan) for plan in (self._plans.nginx(), *self._plans.tools())]
        proxies = [self._add_proxy()] if self.lab.proxied else []
        stores = [self._add(plan) for plan in (self._plans.valkey(), self._plans.nats())]
        # nobody waits for those: a lab without its observers is a lab
        watchers = [self._add(plan) for plan in self._plans.observers()]
        for keeper in (*stores, *tools, *proxies, *watchers):
            keeper.start()
        try:
            first = (*stores, *proxies)
            await _first_failure(self._start_postgres(), *(self._ready(each) for each in first))
            for keeper in instances:
                keeper.start()
            await _first_failure(*(self._ready(each) for each in (*tools, *instances)))
        except (OSError, ServerFailed, ServerMissing) as error:
            raise Failed([str(error)]) from None
        self.up = True

    async def shut_down(self) -> None:
        """In order: nobody asks, services leave, tools hear the last of them, stores close."""
        self.up = False
        kinds = {"service": SERVICE_STOP_S, "tool": STORE_STOP_S}
        kinds |= {"observer": STORE_STOP_S, "server": STORE_STOP_S}
        front = [each for name, each in self.keepers.items() if name == "nginx"]
        for kind, timeout_s in kinds.items():
            group = [each for each in self.keepers.values() if each.plan.kind == kind]
            group += front if kind == "service" else []
            await asyncio.gather(*(keeper.stop(timeout_s) for keeper in group))
        self.lab.path.unlink(missing_ok=True)

    async def _start_postgres(self) -> None:
        log = self._logs / "postgres.log"
        keeper = self._add(self._plans.postgres())
        cluster = self._plans.cluster()
        if not cluster.exists():
            self.tell({"name": "postgres", "state": "making the cluster"})
            code = await self._children.run(cluster.initdb(self._admin_password()), log)
            cluster.finish(code, log)
        keeper.start()
        await self._ready(keeper)
        if await self._children.run(self._plans.make_databases(), log) != 0:
            raise Failed([f"postgres: the databases could not be made\n{explain(log)}"])

    async def _ready(self, keeper: Keeper) -> None:
        if not await keeper.ready():
            why = keeper.problem or f"ended with {keeper.last_exit} before it was ready"
            name, log = keeper.plan.name, keeper.plan.log
            raise Failed([f"{name}: {why}; {log} says:\n{explain(log)}"])

    def _admin_password(self) -> str:
        return self.lab.addresses["postgres"].partition("@")[0].rpartition(":")[2]

    # -- what the control API does ----------------------------------------------------------

    async def status(self, *, live: bool) -> dict[str, Any]:
        """Facts of every process; `live` asks each one that should be ready whether it is."""
        keepers = list(self.keepers.values())
        processes = [keeper.facts() for keeper in keepers]
        if live:
            answers = await asyncio.gather(*(alive(keeper) for keeper in keepers))
            for facts, answered in zip(processes, answers, strict=True):
                if facts["state"] == "ready" and not answered:
                    facts["state"] = "unready"
        return {
            "up": self.up,
            # observers are not of the lab: it is whole without them
            "ready": self.up
            and all(each["state"] == "ready" for each in processes if each["kind"] != "observer"),
            "uptime_s": round(time.monotonic() - self._began, 1),
            "port_base": self.lab.port_base,
            "home": self.lab.home,
            "processes": processes,
        }

    async def scale(self, name: str, replicas: int) -> list[Keeper]:
        """Run this many instances; returns when new ones are ready or have failed."""
        service = self.topology.services[name]
        mine = self.instances(name)
        removed = mine[replicas:]
        for number in range(len(mine) + 1, replicas + 1):
            self._add(self._plans.instance(service, number))
        await self._plans.wiring.follow(
            self._names()
        )  # the new ones' edges, before their first call
        kept = self.instances(name)[:replicas]
        started = [keeper for keeper in kept if keeper.state is State.STOPPED]
        for keeper in started:
            keeper.start()
        await asyncio.gather(*(keeper.ready() for keeper in started))
        for keeper in removed:
            del self.keepers[keeper.plan.name]
        if name == self.topology.ingress.balances:
            self._plans.write_nginx_conf(self._gateway_ports())
            with suppress(ProcessLookupError):  # it will read the new one when it starts
                self.keepers["nginx"].send(signal.SIGHUP, restart=True)
        await asyncio.gather(*(keeper.stop() for keeper in removed))
        await self._plans.wiring.follow(self._names())
        self._scrape()
        self._save()
        return kept

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

    def _gateway_ports(self) -> list[int]:
        gateways = [each.plan for each in self.instances(self.topology.ingress.balances)]
        return [self._plans.wiring.ingress_port(each.name, each.port) for each in gateways]

    def edge_ports(self, instance: str) -> dict[str, int]:
        """By name, the ports that an instance's edges take; none in a lab that is not proxied."""
        return self._plans.wiring.ports(instance)

    def _scrape(self) -> None:
        """Tell Prometheus, where there is one, which instances there are."""
        services = [each.plan for each in self.keepers.values() if each.plan.service]
        self._plans.monitoring.follow(
            {
                plan.name: (
                    plan.service,
                    plan.port,
                    self._plans.settings(
                        self.topology.services[plan.service], plan.name, plan.port
                    ),
                )
                for plan in services
            }
        )

    def _names(self) -> list[str]:
        return [each.plan.name for each in self.keepers.values() if each.plan.service]

    def _add_proxy(self) -> Keeper:
        self._plans.wiring.write(self._names())
        # every call hangs on it: it is back at once, whatever delay the others' crashes are to have
        return self._add(self._plans.proxy(), min(self._restart_delay_s, PROXY_RESTART_DELAY_S))

    # -- book-keeping -----------------------------------------------------------------------

    def _add(self, plan: Plan, restart_delay_s: float | None = None) -> Keeper:
        delay_s = self._restart_delay_s if restart_delay_s is None else restart_delay_s
        keeper = Keeper(plan, self._changed, delay_s)
        self.keepers[plan.name] = keeper
        return keeper

    def _changed(self, keeper: Keeper) -> None:
        name, state = keeper.plan.name, str(keeper.state)
        if keeper.state is State.STARTING and keeper.pid == 0:
            return
        self._save()
        if not self.up:
            self.tell({"name": name, "state": state, "after_s": keeper.ready_after_s})
        if keeper.state is State.BACKOFF:
            delay_s = round(keeper.retry_s - time.time(), 1)
            how = f"ended with {keeper.last_exit}" if not keeper.problem else keeper.problem
            self.log("warning", f"{name} {how}; starts again in {delay_s} s", process=name)
        else:
            self.log("info", f"{name} is {state}", process=name, pid=keeper.pid)

    def _save(self) -> None:
        self.lab.servers = [self._entry("supervisor", os.getpid())]
        if isinstance(self._programs, Forked) and (pid := self._programs.pid):
            self.lab.servers.append(self._entry("zygote", pid))
        self.lab.instances = []
        for keeper in self.keepers.values():
            plan = keeper.plan
            address = f"http://127.0.0.1:{plan.port}" if plan.service else f"127.0.0.1:{plan.port}"
            entry = Entry(plan.name, keeper.pid, keeper.identity, plan.service, address)
            (self.lab.instances if plan.service else self.lab.servers).append(entry)
        try:
            self.lab.save()
        except OSError as error:
            self.log("error", f"lab.json could not be written: {error}")

    def _tell_fault(self, fault: ProcessFault, phase: str) -> None:
        view = fault.view()
        fault_id, name = view.pop("id"), view["target"]
        self.log(
            *("warning", f"{fault.kind} of {name}: {phase}"),
            **{"event": "fault", "phase": phase, "fault_id": fault_id, **view},
        )

    def _entry(self, name: str, pid: int) -> Entry:
        return Entry(name, pid, pids.identity(pid))

    def log(self, level: str, message: str, **fields: Any) -> None:
        """One line of logs/supervisor.jsonl."""
        line = {"time": time.time(), "level": level, "service": "lab", "instance": "supervisor"}
        print(json.dumps({**line, "message": message, **fields}), file=sys.stderr, flush=True)

    def tell(self, progress: dict[str, Any]) -> None:
        with suppress(OSError, ValueError):  # whoever listened is gone: the end of stdin says so
            print(json.dumps(progress), file=self._told, flush=True)


async def alive(keeper: Keeper) -> bool:
    if keeper.state is not State.READY:
        return False
    with suppress(TimeoutError):
        return await asyncio.wait_for(keeper.plan.ready(), LIVE_S)
    return False


async def _first_failure(*work: Coroutine[Any, Any, None]) -> None:
    """Run all; the first error ends the others."""
    try:
        async with asyncio.TaskGroup() as group:
            for each in work:
                group.create_task(each)
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None


class Supervising(Supervision, Protocol):
    """A supervisor of any runtime, from its start to its end."""

    stop: asyncio.Event

    async def start(self) -> None: ...
    async def shut_down(self) -> None: ...
    def tell(self, progress: dict[str, Any]) -> None: ...


async def supervise(order: dict[str, Any], reader: asyncio.StreamReader) -> int:
    """Bring the lab up, keep it until told to stop; the exit code."""
    lab = Lab(**order["lab"])
    topology = topologies.load(Path(lab.topology))
    return await keep_up(Supervisor(lab, topology, order["restart_delay_s"]), reader)


async def keep_up(supervisor: Supervising, reader: asyncio.StreamReader) -> int:
    """Start it, answer its control API until told to stop, shut it down; the exit code."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, supervisor.stop.set)
    watching = asyncio.create_task(_until_released(reader, supervisor.stop))
    port = supervisor.topology.ports(supervisor.lab.port_base)["control"]
    control = await httpd.serve(Control(supervisor).answer, port)
    code = await _bring_up(supervisor)
    if code == 0:
        await supervisor.stop.wait()
    supervisor.log("info", "going down")
    watching.cancel()
    control.close()
    await supervisor.shut_down()
    return code


async def _bring_up(supervisor: Supervising) -> int:
    starting = asyncio.create_task(supervisor.start())
    stopping = asyncio.create_task(supervisor.stop.wait())
    began = time.monotonic()
    await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        return 1
    stopping.cancel()
    try:
        starting.result()
    except Failed as failure:
        supervisor.tell({"failed": failure.problems})
        return 1
    supervisor.tell({"up": round(time.monotonic() - began, 2)})
    return 0


async def _until_released(reader: asyncio.StreamReader, stop: asyncio.Event) -> None:
    if (await reader.readline()).strip() != b"release":
        stop.set()


Supervise = Callable[[dict[str, Any], asyncio.StreamReader], Awaitable[int]]


async def run(supervise: Supervise) -> int:
    """Read the order from stdin and carry it out."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return await supervise(json.loads(await reader.readline()), reader)


if __name__ == "__main__":
    sys.exit(asyncio.run(run(supervise)))
