"""The compose runtime: the same seven verbs, the lab in containers."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lab import topology as topologies
from lab.nearest import nearest
from lab.runtimes.base import Progress, Up
from lab.runtimes.compose import compose_cli
from lab.runtimes.compose.compose_cli import Compose, EngineError
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
from lab.runtimes.posix import ports
from lab.runtimes.servers.commands import POSTGRES_USER, postgres_url
from lab.runtimes.supervisor import client, lab_dir
from lab.runtimes.supervisor.client import UsageError
from lab.runtimes.supervisor.launch import DetachedSupervisor, UpFailedError
from lab.runtimes.supervisor.runtime_base import SupervisedRuntime, check_settings
from lab.state import Lab, StateError
from lab.topology import STORES, Topology

SUPERVISOR = "lab.runtimes.compose.supervisor"
NAME = "compose"
LEAVE_S = "5"
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

    Status, logs, kill, scale and address are as with processes: they ask the supervisor, or read its files.
    """

    def __init__(
        self,
        port_base: int,
        topology: Path = topologies.DEFAULT_PATH,
        profile: str = "full",
    ) -> None:
        super().__init__(port_base, topology)
        self.profile = profile

    def up(
        self,
        settings: Mapping[str, str] | None = None,
        *,
        fresh: bool = False,
        proxied: bool = False,
        open_proxy: bool = False,
        on_progress: Progress = lambda told: None,
    ) -> Up:
        """Build the image, start every container, wait until all are ready; heals what already runs.

        Raises EngineError, UpFailedError, StateError, TopologyError.
        """
        began = time.monotonic()
        settings = dict(settings or {})
        topology = topologies.load(self._topology)
        check_settings(settings, topology)
        if self.profile not in PROFILES:
            raise UsageError(f"profile {self.profile!r}{nearest(self.profile, PROFILES)}")
        compose_cli.check()
        with lab_dir.locked(self.home) as lock:
            if lock is None:
                return self._heal(began, fresh, settings, proxied or open_proxy)
            cleaned = self._clean()
            self._check_ports(topology)
            environment = Environment(self.home, topology, self.profile)
            if not fresh:
                self._check_volume(environment)
            environment.write(settings, fresh=fresh)
            lab = self._new_compose_lab(topology, environment, settings)
            if proxied or open_proxy:
                lab.addresses["proxy"] = (
                    f"http://127.0.0.1:{topology.ports(self.port_base)['proxy']}"
                )
                lab.proxy_token = "" if open_proxy else lab.token
            write_inside(lab, topology)
            write_override(lab, topology, instances_of(topology))
            compose = compose_of(self.home, self.profile, proxied=lab.proxied)
            try:
                self._bring_up(compose, topology, lab, lock, on_progress, fresh=fresh)
                self._set_current()
            except BaseException:
                if self._supervisor is not None:
                    self._supervisor.end()
                self._take_down(fresh=False)
                raise
        return Up(False, round(time.monotonic() - began, 2), cleaned)

    def down(self) -> bool:
        """End the supervisor and every container, also of a start that was cut short; volumes stay."""
        was_up = self._end_supervisor()
        with lab_dir.locked(self.home) as lock:
            if lock is None:
                raise StateError(f"the lab in {self.home} was started again meanwhile")
            compose_cli.check()
            was_up = self._take_down(fresh=False) or was_up
        self._unset_current()
        return was_up

    def status(self, *, live: bool = True) -> dict[str, Any]:
        """As the supervisor sees it, with the memory of each container as the engine counts it."""
        status = client.call_supervisor(self.lab, "GET", f"/status?live={int(live)}")
        used = asyncio.run(_memory_mb(compose_cli.endpoint(), project_of(self.port_base)))
        for process in status["processes"]:
            process["memory_mb"] = used.get(process["name"], 0.0)
        status["memory_mb"] = round(sum(each["memory_mb"] for each in status["processes"]), 1)
        return status

    # -- parts of up and down -----------------------------------------------------------------

    def _bring_up(
        self,
        compose: Compose,
        topology: Topology,
        lab: Lab,
        lock: int,
        on_progress: Progress,
        *,
        fresh: bool,
    ) -> None:
        log = self.home / "logs" / "compose.log"
        if fresh:
            compose.run("down", "--volumes", "--timeout", LEAVE_S, log=log)
        on_progress({"name": "the image", "state": "building"})
        compose.run("build", BUILT, log=log)
        on_progress({"name": "the image", "state": "ready"})
        on_progress({"name": "the stores", "state": "starting"})
        try:
            compose.run("up", "--detach", "--no-build", *STORES, log=log)
            if silent := asyncio.run(silent_stores(topology.ports(self.port_base), STORES_S)):
                told = f"{', '.join(silent)}: no answer within {STORES_S:.0f} s"
                raise UpFailedError([told, *compose.troubled()])
            on_progress({"name": "the stores", "state": "ready"})
            compose.run("up", "--detach", "--no-build", "--remove-orphans", log=log)
        except EngineError as error:
            raise UpFailedError([str(error), *compose.troubled()]) from None
        self._supervisor = DetachedSupervisor(SUPERVISOR, self.home, lock)
        order = {"lab": asdict(lab), "endpoint": compose_cli.endpoint(), "profile": self.profile}
        self._supervisor.bring_up(order, on_progress)

    def _check_ports(self, topology: Topology) -> None:
        numbers = topology.ports(self.port_base)
        opened = {name: port for name, port in numbers.items() if name not in NOT_OPENED}
        if busy := ports.taken(opened):
            advice = "end it, or choose other ports with `--port-base`"
            raise UpFailedError([*map(str, busy), advice])

    def _check_volume(self, environment: Environment) -> None:
        """The databases' volume may be of a lab in another checkout, or of one whose folder is gone."""
        volume = f"{project_of(self.port_base)}_postgres"
        if not environment.passwords.is_dir() and compose_cli.has_volume(volume):
            raise UpFailedError(
                [
                    f"the engine keeps {volume}, databases of an earlier lab at this port base "
                    f"whose passwords are not in {environment.passwords}",
                    "forget them with `lab up --runtime compose --fresh`, or choose another --port-base",
                ]
            )

    def _clean(self) -> list[str]:
        """What a supervisor that died, or a start that was cut short, has left."""
        if not env_file(self.home).is_file():
            return []
        left = everything_of(self.home).containers()
        self._take_down(fresh=False)
        return [f"ended {len(left)} containers that the last lab left"] if left else []

    def _take_down(self, *, fresh: bool) -> bool:
        """Containers and network away; whether there were any."""
        if not env_file(self.home).is_file():
            return False
        compose = everything_of(self.home)
        there = bool(compose.containers())
        options = ["--volumes"] if fresh else []
        compose.run("down", "--remove-orphans", "--timeout", LEAVE_S, *options)
        for path in (self.home / "lab.json", env_file(self.home), override_file(self.home)):
            path.unlink(missing_ok=True)
        return there

    def _new_compose_lab(
        self, topology: Topology, environment: Environment, settings: dict[str, str]
    ) -> Lab:
        numbers, secrets = topology.ports(self.port_base), environment.variables
        lacks = SMALL_LACKS if self.profile == "small" else ()
        addresses = {
            name: f"http://127.0.0.1:{numbers[listener]}"
            for name, listener in HTTP.items()
            if listener in numbers and name not in lacks
        }
        postgres = numbers["postgres"]
        addresses |= {
            "postgres": postgres_url(
                postgres, POSTGRES_USER, secrets["POSTGRES_PASSWORD"], "postgres"
            ),
            "valkey": f"redis://127.0.0.1:{numbers['valkey']}/0",
            "nats": f"nats://127.0.0.1:{numbers['nats']}",
            "nats_monitoring": f"http://127.0.0.1:{numbers['nats monitoring']}",
            "mail_smtp": f"smtp://127.0.0.1:{numbers['mail_smtp']}",
        }
        return Lab(
            port_base=self.port_base,
            home=str(self.home),
            topology=str(topology.path.absolute()),
            started_s=time.time(),
            token=secrets["LAB_TOKEN"],
            service_secret=secrets["SERVICE_SECRET"],
            settings=settings,
            addresses=addresses,
            databases={
                name: postgres_url(postgres, name, secrets[f"DB_PASSWORD_{name.upper()}"], name)
                for name, service in topology.services.items()
                if "postgres" in service.stores
            },
            runtime=NAME,
            project=project_of(self.port_base),
        )


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
