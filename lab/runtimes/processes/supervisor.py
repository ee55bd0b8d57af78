"""`python -m lab.runtimes.processes.supervisor`: the parent of all processes of a lab."""

import asyncio
import signal
import sys
import time
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from lab import topology as topologies
from lab.runtimes.logs import explain
from lab.runtimes.processes.children import Children
from lab.runtimes.processes.launchers import launcher
from lab.runtimes.processes.specs import ProcessSpecs, preload
from lab.runtimes.servers.binaries import ServerMissingError
from lab.runtimes.servers.commands import ServerFailedError
from lab.runtimes.supervisor.base import StartFailedError, Supervisor
from lab.runtimes.supervisor.main import run
from lab.runtimes.supervisor.managed_process import ManagedProcess, ProcessSpec, State
from lab.state import Lab
from lab.topology import Topology

SERVICE_STOP_S = 1.2
STORE_STOP_S = 3.0
PROXY_RESTART_DELAY_S = 0.05


class ProcessSupervisor(Supervisor):
    """Starts, supervises and stops the processes of one lab. Requires a running event loop."""

    optional_kinds = ("observer",)
    processes: dict[str, ManagedProcess]

    def __init__(self, lab: Lab, topology: Topology, restart_delay_s: float) -> None:
        super().__init__(lab, topology)
        self._restart_delay_s = restart_delay_s
        self._logs = Path(lab.home) / "logs"
        self._children = Children()
        self._launcher = launcher(
            self._children,
            preload(topology, proxied=lab.proxied, watched="watch" in lab.addresses),
            self._logs / "zygote.log",
        )
        self._specs = ProcessSpecs(lab, topology, self._children, self._launcher)

    # -- life -------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start everything and wait until it is ready. Raises StartFailedError."""
        self._launcher.prepare(on_change=self._save)  # imports while the servers start
        services = self.topology.services.values()
        instances = [
            self._add(self._specs.instance(service, number))
            for service in services
            for number in range(1, service.replicas + 1)
        ]
        self._specs.write_nginx_conf(self._gateway_ports())
        self._scrape()
        tools = [self._add(spec) for spec in (self._specs.nginx(), *self._specs.tools())]
        proxies = [self._add_proxy()] if self.lab.proxied else []
        stores = [self._add(spec) for spec in (self._specs.valkey(), self._specs.nats())]
        # the start does not wait for the observers: they are optional
        observers = [self._add(spec) for spec in self._specs.observers()]
        for process in (*stores, *tools, *proxies, *observers):
            process.start()
        try:
            first = (*stores, *proxies)
            await _first_failure(self._start_postgres(), *(self._ready(each) for each in first))
            for process in instances:
                process.start()
            await _first_failure(*(self._ready(each) for each in (*tools, *instances)))
        except (OSError, ServerFailedError, ServerMissingError) as error:
            raise StartFailedError([str(error)]) from None
        self.up = True

    async def shut_down(self) -> None:
        """Stop nginx and the services, then the tools (they receive the last data), then observers and stores."""
        self.up = False
        kinds = {"service": SERVICE_STOP_S, "tool": STORE_STOP_S}
        kinds |= {"observer": STORE_STOP_S, "server": STORE_STOP_S}
        front = [each for name, each in self.processes.items() if name == "nginx"]
        for kind, timeout_s in kinds.items():
            group = [each for each in self.processes.values() if each.spec.kind == kind]
            group += front if kind == "service" else []
            await asyncio.gather(*(process.stop(timeout_s) for process in group))
        self.lab.path.unlink(missing_ok=True)

    async def _start_postgres(self) -> None:
        log = self._logs / "postgres.log"
        process = self._add(self._specs.postgres())
        cluster = self._specs.cluster()
        if not cluster.exists():
            self.report({"name": "postgres", "state": "creating the cluster"})
            try:
                code = await self._children.run(cluster.initdb(self._admin_password()), log)
                cluster.finish(code, log)
            finally:
                cluster.discard_unfinished()
        process.start()
        await self._ready(process)
        if await self._children.run(self._specs.make_databases(), log) != 0:
            raise StartFailedError(
                [f"postgres: the databases could not be created\n{explain(log)}"]
            )

    async def _ready(self, process: ManagedProcess) -> None:
        if not await process.wait_ready():
            why = process.problem or f"ended with {process.last_exit} before it was ready"
            name, log = process.spec.name, process.spec.log
            raise StartFailedError([f"{name}: {why}; from {log}:\n{explain(log)}"])

    def _admin_password(self) -> str:
        return self.lab.addresses["postgres"].partition("@")[0].rpartition(":")[2]

    # -- requests of the control API --------------------------------------------------------

    async def scale(self, name: str, replicas: int) -> list[ManagedProcess]:
        """Run this many instances; returns when the new ones are ready or have failed."""
        service = self.topology.services[name]
        mine = self.instances(name)
        removed = mine[replicas:]
        for number in range(len(mine) + 1, replicas + 1):
            self._add(self._specs.instance(service, number))
        # the new instances' edges, before the first call to them
        await self._specs.proxy_config.follow(self._names())
        kept = self.instances(name)[:replicas]
        started = [process for process in kept if process.state is State.STOPPED]
        for process in started:
            process.start()
        await asyncio.gather(*(process.wait_ready() for process in started))
        for process in removed:
            del self.processes[process.spec.name]
        if name == self.topology.ingress.balances:
            self._specs.write_nginx_conf(self._gateway_ports())
            with suppress(
                ProcessLookupError
            ):  # nginx is down: it reads the new file when it starts
                self.processes["nginx"].send(signal.SIGHUP, restart=True)
        await asyncio.gather(*(process.stop() for process in removed))
        await self._specs.proxy_config.follow(self._names())
        self._scrape()
        self._save()
        return kept

    def _gateway_ports(self) -> list[int]:
        gateways = [each.spec for each in self.instances(self.topology.ingress.balances)]
        return [self._specs.proxy_config.ingress_port(each.name, each.port) for each in gateways]

    def edge_ports(self, instance: str) -> dict[str, int]:
        """The ports of an instance's edges, by edge; none in a lab that is not proxied."""
        return self._specs.proxy_config.ports(instance)

    def _scrape(self) -> None:
        """Update the list of instances that Prometheus scrapes, where it runs."""
        services = [each.spec for each in self.processes.values() if each.spec.service]
        self._specs.monitoring.follow(
            {
                spec.name: (
                    spec.service,
                    spec.port,
                    self._specs.settings(
                        self.topology.services[spec.service], spec.name, spec.port
                    ),
                )
                for spec in services
            }
        )

    def _names(self) -> list[str]:
        return [each.spec.name for each in self.processes.values() if each.spec.service]

    def _add_proxy(self) -> ManagedProcess:
        self._specs.proxy_config.write(self._names())
        # every call passes through it: it starts again at once, whatever the restart delay of the others
        return self._add(self._specs.proxy(), min(self._restart_delay_s, PROXY_RESTART_DELAY_S))

    # -- book-keeping -----------------------------------------------------------------------

    def _add(self, spec: ProcessSpec, restart_delay_s: float | None = None) -> ManagedProcess:
        delay_s = self._restart_delay_s if restart_delay_s is None else restart_delay_s
        process = ManagedProcess(spec, self._changed, delay_s)
        self.processes[spec.name] = process
        return process

    def _changed(self, process: ManagedProcess) -> None:
        if process.state is not State.STARTING or process.pid:
            super()._changed(process)

    def _after_exit(self, process: ManagedProcess) -> str:
        return f"starts again in {round(process.retry_s - time.time(), 1)} s"

    def _helpers(self) -> dict[str, int]:
        zygote = self._launcher.pid
        return super()._helpers() | ({"zygote": zygote} if zygote else {})


async def _first_failure(*work: Coroutine[Any, Any, None]) -> None:
    """Run all; the first error cancels the others."""
    try:
        async with asyncio.TaskGroup() as group:
            for each in work:
                group.create_task(each)
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None


def create(order: dict[str, Any]) -> ProcessSupervisor:
    """The supervisor that the order describes."""
    lab = Lab(**order["lab"])
    return ProcessSupervisor(lab, topologies.load(Path(lab.topology)), order["restart_delay_s"])


if __name__ == "__main__":
    sys.exit(asyncio.run(run(create)))
