"""The compose runtime: the same seven operations, with the lab in containers."""

import asyncio
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lab import topology as topologies
from lab.nearest import nearest
from lab.render.nats import MONITORING_PATH
from lab.runtimes.base import DEFAULTS, Progress, UpOptions, UpResult, no_progress
from lab.runtimes.compose import compose_cli
from lab.runtimes.compose.compose_cli import EngineError
from lab.runtimes.compose.engine import SERVICE_LABEL, Engine, EngineRefusedError
from lab.runtimes.compose.environment import (
    PROFILES,
    Environment,
    compose_of,
    env_file,
    everything_of,
    instances_of,
    override_file,
    project_of,
    write_inside,
    write_override,
)
from lab.runtimes.compose.specs import silent_stores
from lab.runtimes.supervisor import client, lab_dir
from lab.runtimes.supervisor.client import UsageError
from lab.runtimes.supervisor.launch import DetachedSupervisor, UpFailedError
from lab.runtimes.supervisor.runtime_base import (
    Secrets,
    SupervisedRuntime,
    check_ports,
    check_settings,
)
from lab.state import Lab, StateError
from lab.topology import STORES, Topology

SUPERVISOR = "lab.runtimes.compose.supervisor"
NAME = "compose"
STOP_S = "5"
STORES_S = 100.0
BUILT = "recorder"  # any service with the shop's image: building one builds it for all
HTTP = {
    "ingress": "nginx",
    **{name: name for name in ("mail_page", "recorder", "control", "locust_ui", "jaeger")},
    **{name: name for name in ("prometheus", "alertmanager", "grafana", "jupyter", "watch")},
}
NOT_OPENED = ("locust_ui", "jaeger_otlp", "proxy")
SMALL_LACKS = ("recorder", "alertmanager", "grafana", "watch", "fluentd")


class ComposeRuntime(SupervisedRuntime):
    """One lab in containers, at `port_base`, in `.lab/<port_base>/`.

    Logs, kill, scale and address work as with processes: by the supervisor's API and its files.
    """

    def __init__(
        self, port_base: int, topology: Path = topologies.DEFAULT_PATH, profile: str = "full"
    ) -> None:
        super().__init__(port_base, topology)
        self.profile = profile

    def up(self, options: UpOptions = DEFAULTS, *, on_progress: Progress = no_progress) -> UpResult:
        """Build the image, start every container and wait until all are ready.

        Starts again what is stopped in a lab that is up.
        Raises EngineError, UpFailedError, StateError, TopologyError.
        """
        began = time.monotonic()
        topology = topologies.load(self._topology)
        check_settings(options.settings, topology)
        if self.profile not in PROFILES:
            raise UsageError(f"profile {self.profile!r}{nearest(self.profile, PROFILES)}")
        compose_cli.check()
        with lab_dir.locked(self.home) as lock:
            if lock is None:
                return self._heal(began, options)
            cleaned = self._clean()
            opened = topology.ports(self.port_base)
            check_ports({name: port for name, port in opened.items() if name not in NOT_OPENED})
            environment = Environment(self.home, topology, self.profile)
            if not options.fresh:
                self._check_volume(environment)
            environment.write(options.settings, fresh=options.fresh)
            lab = self._lab_to_start(topology, options, environment.variables)
            write_inside(lab, topology)
            write_override(lab, topology, instances_of(topology))
            try:
                self._start_containers(lab, fresh=options.fresh, on_progress=on_progress)
                self._supervise(lab, lock, on_progress)
                self._set_current()
            except BaseException:
                if self._supervisor is not None:
                    self._supervisor.end()
                self._take_down()
                raise
        return UpResult(False, round(time.monotonic() - began, 2), cleaned)

    def down(self) -> bool:
        """Stop the supervisor and every container, also of an interrupted start; volumes stay."""
        was_up = self._end_supervisor()
        with lab_dir.locked(self.home) as lock:
            if lock is None:
                raise StateError(f"the lab in {self.home} was started again meanwhile")
            compose_cli.check()
            was_up = self._take_down() or was_up
        self._unset_current()
        return was_up

    def status(self, *, live: bool = True) -> dict[str, Any]:
        """The supervisor's status, with the memory of each container as the engine counts it."""
        status = client.call_supervisor(self.lab, "GET", f"/status?live={int(live)}")
        used = asyncio.run(_memory_mb(compose_cli.endpoint(), project_of(self.port_base)))
        for process in status["processes"]:
            process["memory_mb"] = used.get(process["name"], 0.0)
        status["memory_mb"] = round(sum(each["memory_mb"] for each in status["processes"]), 1)
        return status

    # -- parts of up and down -----------------------------------------------------------------

    def _start_containers(self, lab: Lab, *, fresh: bool, on_progress: Progress) -> None:
        compose = compose_of(self.home, self.profile, proxied=lab.proxied)
        log = self.home / "logs" / "compose.log"
        if fresh:
            compose.run("down", "--volumes", "--timeout", STOP_S, log=log)
        on_progress({"name": "the image", "state": "building"})
        compose.run("build", BUILT, log=log)
        on_progress({"name": "the image", "state": "ready"})
        on_progress({"name": "the stores", "state": "starting"})
        try:
            compose.run("up", "--detach", "--no-build", *STORES, log=log)
            numbers = topologies.load(Path(lab.topology)).ports(self.port_base)
            if silent := asyncio.run(silent_stores(numbers, STORES_S)):
                problem = f"{', '.join(silent)}: no answer within {STORES_S:.0f} s"
                raise UpFailedError([problem, *compose.troubled()])
            on_progress({"name": "the stores", "state": "ready"})
            compose.run("up", "--detach", "--no-build", "--remove-orphans", log=log)
        except EngineError as error:
            raise UpFailedError([str(error), *compose.troubled()]) from None

    def _supervise(self, lab: Lab, lock: int, on_progress: Progress) -> None:
        self._supervisor = DetachedSupervisor(SUPERVISOR, self.home, lock)
        order = {"lab": asdict(lab), "endpoint": compose_cli.endpoint(), "profile": self.profile}
        self._supervisor.bring_up(order, on_progress)

    def _check_volume(self, environment: Environment) -> None:
        """The databases' volume may belong to a lab of another checkout, or to a deleted lab folder."""
        volume = f"{project_of(self.port_base)}_postgres"
        if not environment.passwords.is_dir() and compose_cli.has_volume(volume):
            raise UpFailedError(
                [
                    f"the engine has the volume {volume} with the databases of an earlier lab at this "
                    f"port base, and {environment.passwords} does not have their passwords",
                    "delete them with `lab up --runtime compose --fresh`, or choose another --port-base",
                ]
            )

    def _clean(self) -> list[str]:
        """Remove what a crashed supervisor or an interrupted start left behind."""
        if not env_file(self.home).is_file():
            return []
        left = everything_of(self.home).containers()
        self._take_down()
        return [f"ended {len(left)} containers that the last lab left"] if left else []

    def _take_down(self) -> bool:
        """Remove containers and network; False if there were none."""
        if not env_file(self.home).is_file():
            return False
        compose = everything_of(self.home)
        found = bool(compose.containers())
        compose.run("down", "--remove-orphans", "--timeout", STOP_S)
        for path in (self.home / "lab.json", env_file(self.home), override_file(self.home)):
            path.unlink(missing_ok=True)
        return found

    def _lab_to_start(
        self, topology: Topology, options: UpOptions, variables: dict[str, str]
    ) -> Lab:
        lacks = SMALL_LACKS if self.profile == "small" else ()
        listeners = topology.ports(self.port_base)
        http = {name: at for name, at in HTTP.items() if at in listeners and name not in lacks}
        secrets = Secrets(
            token=variables["LAB_TOKEN"],
            signals=variables["SIGNALS_TOKEN"],
            service=variables["SERVICE_SECRET"],
            passwords=variables,
            monitoring_path=variables[MONITORING_PATH],
        )
        lab = self._new_lab(topology, options, secrets, http)
        return replace(lab, runtime=NAME, project=project_of(self.port_base))


async def _memory_mb(endpoint: str, project: str) -> dict[str, float]:
    engine = Engine(endpoint)
    try:
        found = {each["Labels"][SERVICE_LABEL]: each for each in await engine.containers(project)}
        running = {name: each["Id"] for name, each in found.items() if each["State"] == "running"}
        used = await asyncio.gather(*(engine.memory_bytes(each) for each in running.values()))
        return {name: round(n / 2**20, 1) for name, n in zip(running, used, strict=True)}
    except EngineRefusedError:
        return {}
    finally:
        await engine.close()
