"""The default runtime: every service and server a local process, no Docker, no root."""

import time
from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any

from lab import topology as topologies
from lab.edges import edges_of
from lab.runtimes.base import Progress, Up
from lab.runtimes.posix import memory, ports
from lab.runtimes.processes import cleanup
from lab.runtimes.servers import observers
from lab.runtimes.servers.commands import POSTGRES_USER, postgres_url
from lab.runtimes.supervisor import client, lab_dir
from lab.runtimes.supervisor.launch import DetachedSupervisor, UpFailedError
from lab.runtimes.supervisor.managed_process import RESTART_DELAY_S
from lab.runtimes.supervisor.runtime_base import SupervisedRuntime, check_settings
from lab.state import Lab, StateError, new_secret, stored_secret
from lab.topology import IN_CONTAINERS, Topology

SUPERVISOR = "lab.runtimes.processes.supervisor"
NOT_OURS = "locust_ui"  # opened by `lab load --ui`, not by `lab up`


class ProcessesRuntime(SupervisedRuntime):
    """One lab on this machine, at `port_base`, in `.lab/<port_base>/`."""

    def up(
        self,
        settings: Mapping[str, str] | None = None,
        *,
        fresh: bool = False,
        proxied: bool = False,
        open_proxy: bool = False,
        observed_by: Collection[str] = (),
        restart_delay_s: float = RESTART_DELAY_S,
        on_progress: Progress = lambda progress: None,
    ) -> Up:
        """Start everything and wait until it is ready, about 4 s; heals what already runs.

        `settings` go to every service (`RESILIENCE`), one (`orders.OUTBOX`) or one instance (`orders-1.ARM`);
        `fresh` forgets the stores' data. `observed_by` names unpacked observers to use, beside those on
        PATH. `proxied` puts the fault proxy on every edge; `open_proxy` also lets
        clients use its API that know no token. Raises TopologyError, UpFailedError, StateError.
        """
        began = time.monotonic()
        topology = topologies.load(self._topology)
        check_settings(settings or {}, topology)
        proxied = proxied or open_proxy
        self._supervisor = None
        try:
            with lab_dir.locked(self.home) as lock:
                if lock is None:
                    return self._heal(began, fresh, dict(settings or {}), proxied)
                cleaned = cleanup.clean(self.home)
                if busy := ports.taken(_ports_at_first(topology, self.port_base, proxied)):
                    advice = "end it, or choose other ports with `--port-base`"
                    raise UpFailedError([*map(str, busy), advice])
                lab_dir.prepare(self.home, fresh=fresh)
                lab = self._new_lab(topology, dict(settings or {}), observed_by)
                if proxied:
                    lab.addresses["proxy"] = (
                        f"http://127.0.0.1:{topology.ports(self.port_base)['proxy']}"
                    )
                    lab.proxy_token = "" if open_proxy else lab.token
                self._supervise(lab, restart_delay_s, lock, on_progress)
            self._set_current()
            return Up(False, round(time.monotonic() - began, 2), cleaned)
        except KeyboardInterrupt:
            if self._supervisor is not None:  # it may have come when all was up and let go
                self.down()
            raise

    def down(self) -> bool:
        """End everything, in order if it can be had; what was stored stays for the next `up`."""
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
        """As the supervisor sees it, with memory (PSS in MB where the platform tells) and totals."""
        lab = self.lab
        status = client.call_supervisor(lab, "GET", f"/status?live={int(live)}")
        own = [entry for entry in lab.servers if entry.name in ("supervisor", "zygote")]
        for entry in own:
            facts = {"name": entry.name, "service": "", "kind": "lab", "state": "ready"}
            status["processes"].append(facts | {"pid": entry.pid, "port": None, "restarts": 0})
        for process in status["processes"]:
            # a server's workers are its own; the children of the supervisor are listed themselves
            workers = process["kind"] == "server"
            pid = process["pid"]
            process["memory_mb"] = memory.pss_mb(pid, with_children=workers) if pid else 0.0
        status["memory_mb"] = round(sum(each["memory_mb"] for each in status["processes"]), 1)
        return status

    # -- parts of up and down ---------------------------------------------------------------

    def _new_lab(
        self, topology: Topology, settings: dict[str, str], observed_by: Collection[str] = ()
    ) -> Lab:
        numbers = topology.ports(self.port_base)
        http = {"ingress": "nginx"} | {
            name: name for name in ("mail_page", "recorder", "control", "locust_ui")
        }
        there = observers.chosen(numbers, observed_by)
        http |= {name: name for name in there}
        addresses = {name: f"http://127.0.0.1:{numbers[port]}" for name, port in http.items()}
        # it was set when the cluster was made, so it lives as long as the cluster
        admin = stored_secret(self.home / "data" / "postgres.secret")
        postgres = numbers["postgres"]
        addresses |= {
            "postgres": postgres_url(postgres, POSTGRES_USER, admin, "postgres"),
            "valkey": f"redis://127.0.0.1:{numbers['valkey']}/0",
            "nats": f"nats://127.0.0.1:{numbers['nats']}",
            "nats_monitoring": f"http://127.0.0.1:{numbers['nats monitoring']}",
            "mail_smtp": f"smtp://127.0.0.1:{numbers['mail_smtp']}",
        }
        stored = [each.name for each in topology.services.values() if "postgres" in each.stores]
        return Lab(
            port_base=self.port_base,
            home=str(self.home),
            topology=str(topology.path.absolute()),
            started_s=time.time(),
            token=new_secret(),
            service_secret=new_secret(),
            settings=settings,
            addresses=addresses,
            databases={name: postgres_url(postgres, name, new_secret(), name) for name in stored},
        )

    def _supervise(
        self, lab: Lab, restart_delay_s: float, lock: int, on_progress: Progress
    ) -> None:
        """Start the supervisor; whatever interrupts us before it is up takes it down again."""
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
    """What `up` opens, by who listens."""
    not_ours = {NOT_OURS, *IN_CONTAINERS, *(() if proxied else ("proxy",))}
    numbers = topology.ports(port_base)
    opened = {name: port for name, port in numbers.items() if name not in not_ours}
    if proxied:
        there = edges_of(topology, numbers)
        opened |= {edge.name: port_base + edge.offset for edge in there}
    return opened
