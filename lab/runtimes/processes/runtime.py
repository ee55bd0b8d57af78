"""The default runtime: every service and server is a local process; no Docker, no root."""

import time
from dataclasses import asdict
from typing import Any

from lab import topology as topologies
from lab.edges import ADMINS, edges_of, users_of
from lab.runtimes.base import DEFAULTS, Progress, UpOptions, UpResult, no_progress
from lab.runtimes.posix import memory
from lab.runtimes.processes import cleanup
from lab.runtimes.servers import apt_packages, observers
from lab.runtimes.servers.binaries import ServerMissingError
from lab.runtimes.supervisor import client, lab_dir
from lab.runtimes.supervisor.launch import DetachedSupervisor
from lab.runtimes.supervisor.runtime_base import (
    Secrets,
    SupervisedRuntime,
    check_ports,
    check_settings,
)
from lab.state import Lab, StateError, new_secret, stored_secret
from lab.topology import IN_CONTAINERS, STORES, Topology

SUPERVISOR = "lab.runtimes.processes.supervisor"
NOT_OURS = "locust_ui"  # opened by `lab load --ui`, not by `lab up`


class ProcessesRuntime(SupervisedRuntime):
    """One lab on this machine, at `port_base`, in `.lab/<port_base>/`."""

    def up(self, options: UpOptions = DEFAULTS, *, on_progress: Progress = no_progress) -> UpResult:
        """Start everything and wait until it is ready, about 4 s.

        Starts again what is stopped in a lab that is up. Raises TopologyError, UpFailedError, StateError.
        """
        unpacked, hints = _unpack(options)
        began = time.monotonic()
        topology = topologies.load(self._topology)
        check_settings(options.settings, topology)
        self._supervisor = None
        try:
            with lab_dir.locked(self.home) as lock:
                if lock is None:
                    return self._heal(began, options)
                cleaned = cleanup.clean(self.home)
                check_ports(_ports_at_first(topology, self.port_base, options.with_proxy))
                lab_dir.prepare(self.home, fresh=options.fresh)
                lab = self._lab_to_start(topology, options, unpacked)
                self._supervise(lab, options.restart_delay_s, lock, on_progress)
            self._set_current()
            return UpResult(False, round(time.monotonic() - began, 2), cleaned, hints=hints)
        except KeyboardInterrupt:
            if self._supervisor is not None:  # the lab may be up and its supervisor released
                self.down()
            raise

    def down(self) -> bool:
        """Stop everything, gracefully if possible; the stores' data stays for the next `up`."""
        was_up = self._end_supervisor()
        with lab_dir.locked(self.home) as lock:
            if lock is None:
                raise StateError(f"the lab in {self.home} was started again meanwhile")
            left = cleanup.clean(self.home)
        self._unset_current()
        if self._supervisor is not None:
            self._supervisor.wait()
        return was_up or bool(left)

    def status(self, *, live: bool = True) -> dict[str, Any]:
        """The supervisor's status, with memory in MB (PSS where the platform reports it) and its total."""
        lab = self.lab
        status = client.call_supervisor(lab, "GET", f"/status?live={int(live)}")
        own = [entry for entry in lab.servers if entry.name in ("supervisor", "zygote")]
        for entry in own:
            facts = {"name": entry.name, "service": "", "kind": "lab", "state": "ready"}
            status["processes"].append(facts | {"pid": entry.pid, "port": None, "restarts": 0})
        for process in status["processes"]:
            # a server's workers count as its own; the supervisor's children are listed themselves
            workers = process["kind"] == "server"
            pid = process["pid"]
            process["memory_mb"] = memory.pss_mb(pid, with_children=workers) if pid else 0.0
        status["memory_mb"] = round(sum(each["memory_mb"] for each in status["processes"]), 1)
        return status

    # -- parts of up and down ---------------------------------------------------------------

    def _lab_to_start(self, topology: Topology, options: UpOptions, unpacked: list[str]) -> Lab:
        http = {"ingress": "nginx"}
        http |= {name: name for name in ("mail_page", "recorder", "control", "locust_ui")}
        http |= {name: name for name in observers.chosen(topology.lab, unpacked)}
        passwords = {
            variable: new_secret()
            for store in STORES
            for variable in users_of(store, topology).values()
        }
        # set when the cluster was made, so it is kept as long as the cluster
        kept = stored_secret(self.home / "data" / "postgres.secret")
        secrets = Secrets(
            token=new_secret(),
            signals=new_secret(),
            service=new_secret(),
            passwords=passwords | {ADMINS["postgres"][1]: kept},
            monitoring_path=f"/{new_secret()}",
        )
        return self._new_lab(topology, options, secrets, http)

    def _supervise(
        self, lab: Lab, restart_delay_s: float, lock: int, on_progress: Progress
    ) -> None:
        """Start the supervisor; any interruption before its lab is up takes it down again."""
        supervisor = self._supervisor = DetachedSupervisor(SUPERVISOR, self.home, lock)
        try:
            supervisor.bring_up(
                {"lab": asdict(lab), "restart_delay_s": restart_delay_s}, on_progress
            )
        except BaseException:
            supervisor.end()
            cleanup.clean(self.home)
            raise


def _ports_at_first(topology: Topology, port_base: int, proxied: bool) -> dict[str, int]:
    """The ports that `up` opens, by listener."""
    not_ours = {NOT_OURS, *IN_CONTAINERS, *(() if proxied else ("proxy",))}
    numbers = topology.ports(port_base)
    opened = {name: port for name, port in numbers.items() if name not in not_ours}
    if proxied:
        there = edges_of(topology, numbers)
        opened |= {edge.name: port_base + edge.offset for edge in there}
    return opened


def _unpack(options: UpOptions) -> tuple[list[str], list[str]]:
    """Unpack the requested observers that are not on PATH: (those that can run, a hint for each other)."""
    found, hints = [], []
    for name in options.observers:
        try:
            if observers.find(name) is None:
                apt_packages.unpack(name)
            found.append(name)
        except ServerMissingError as missing:
            hints.append(str(missing))
    return found, hints
