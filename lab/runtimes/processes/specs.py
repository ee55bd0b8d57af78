"""The processes of a lab: from the topology, the specification and settings of each."""

import functools
import json
import os
import pwd
import signal
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from string import Template
from urllib.parse import urlsplit

from lab import __version__
from lab.edges import ADMINS, HOST, SMTP, URL_SETTINGS, servers_of, users_of
from lab.files import write_private
from lab.render import nats as nats_conf
from lab.render import nginx as nginx_conf
from lab.render import valkey as valkey_conf
from lab.resilience_overrides import overrides_file
from lab.runtimes.base import OnExit
from lab.runtimes.processes.children import Children
from lab.runtimes.processes.launchers import Launcher, Program
from lab.runtimes.processes.prometheus_config import PrometheusConfig
from lab.runtimes.processes.proxy_config import ProxyConfig
from lab.runtimes.servers import commands, observers
from lab.runtimes.servers.commands import Command
from lab.runtimes.supervisor import readiness
from lab.runtimes.supervisor.managed_process import ProcessSpec
from lab.state import Lab
from lab.topology import Service, Topology

# Modules that the services import only when they serve: forked services share them if the zygote has them.
PRELOAD = (
    "chassis.cache",
    "uvicorn.lifespan.on",
    "uvicorn.loops.auto",
    "uvicorn.loops.uvloop",
    "uvicorn.protocols.http.auto",
    "uvicorn.protocols.http.httptools_impl",
    "uvicorn.protocols.websockets.auto",
    "opentelemetry.exporter.otlp.proto.common.trace_encoder",
    "fastapi.telemetry._runtime",
    "charset_normalizer",
    "requests",
    "encodings.idna",
    "importlib.readers",
    "lab.mail.__main__",
)
RECORDER = "lab.recorder"
PROXY = "lab.proxy"
WATCH = "lab.watch"


def preload(topology: Topology, *, proxied: bool, watched: bool) -> list[str]:
    """The modules to import before forking."""
    code = topology.code
    apps = [code.app.format(name=name) for name in topology.services]
    recorder = [f"{RECORDER}.__main__"] if _has(RECORDER) else []
    proxy = [f"{PROXY}.__main__"] if proxied else []
    watch = [f"{WATCH}.__main__"] if watched else []
    return [code.program, *apps, *PRELOAD, *recorder, *proxy, *watch]


class ProcessSpecs:
    """The specifications of one lab's processes. Settings are read at each start: a restart uses current ones."""

    def __init__(
        self, lab: Lab, topology: Topology, children: Children, launcher: Launcher
    ) -> None:
        self._lab = lab
        self._topology = topology
        self._children = children
        self._launcher = launcher
        self.proxy_config = ProxyConfig(lab, topology)
        self.monitoring = PrometheusConfig(lab)
        self._home = Path(lab.home)
        self._ports = topology.ports(lab.port_base)

    def postgres(self) -> ProcessSpec:
        port = self._ports["postgres"]
        return self._server(
            "postgres",
            lambda: commands.postgres(self.cluster().data, port),
            readiness.postgres(port),
            # "fast": does not wait for clients to disconnect
            stop_signal=signal.SIGINT,
        )

    def cluster(self) -> commands.Cluster:
        return commands.Cluster(self._data("postgres"))

    def make_databases(self) -> Command:
        """The command that creates a role and a database for each service with PostgreSQL."""
        passwords = {
            name: url.partition("@")[0].rpartition(":")[2]
            for name, url in self._lab.databases.items()
        }
        env = {"ADMIN_URL": self._lab.addresses["postgres"], "PASSWORDS": json.dumps(passwords)}
        return Command([sys.executable, "-m", "lab.runtimes.servers.databases"], env=env)

    def valkey(self) -> ProcessSpec:
        port = self._ports["valkey"]
        users = Template(valkey_conf.users(self._topology)).substitute(self._passwords("valkey"))
        return self._server(
            "valkey",
            lambda: commands.valkey(self._data("valkey"), port, users),
            readiness.valkey(port),
        )

    def nats(self) -> ProcessSpec:
        port, data = self._ports["nats"], self._data("nats")
        monitoring = urlsplit(self._lab.addresses["nats_monitoring"])
        config = nats_conf.config(
            self._topology, listen=f"{HOST}:{port}", monitoring=monitoring.netloc, store=str(data)
        )
        env = nats_conf.environment(self._passwords("nats"), monitoring.path)
        return self._server("nats", lambda: commands.nats(data, config, env), readiness.nats(port))

    def _passwords(self, store: str) -> dict[str, str]:
        """The passwords of a store's users, by variable."""
        urls = {ADMINS[store][0]: self._lab.addresses[store], **self._lab.stores[store]}
        return {
            variable: urlsplit(urls[user]).password or ""
            for user, variable in users_of(store, self._topology).items()
        }

    def nginx(self) -> ProcessSpec:
        port = self._ports["nginx"]
        return self._server(
            "nginx",
            lambda: commands.nginx(self._conf, self._home / "run" / "nginx"),
            readiness.http(port, "/health"),
        )

    def write_nginx_conf(self, gateway_ports: Sequence[int]) -> None:
        """Write nginx.conf, for nginx's next start or SIGHUP."""
        self._conf.parent.mkdir(parents=True, exist_ok=True)
        text = nginx_conf.render(
            port=self._ports["nginx"],
            balances=self._topology.ingress.balances,
            upstream_ports=gateway_ports,
            # as root, nginx would run its worker as a user that cannot read the checkout
            user=pwd.getpwuid(0).pw_name if os.geteuid() == 0 else "",
        )
        write_private(self._conf, text)

    def tools(self) -> list[ProcessSpec]:
        """The mail sink and, where it is installed, the recorder."""
        smtp, page = self._ports["mail_smtp"], self._ports["mail_page"]
        mail = ["--smtp-port", str(smtp), "--page-port", str(page)]
        mail += ["--folder", str(self._home / "mail")]
        specs = [self._tool("mail", "lab.mail", mail, page, "/health")]
        if _has(RECORDER):
            port = self._ports["recorder"]
            argv = ["--port", str(port), "--lab-dir", str(self._home)]
            specs.append(self._tool("recorder", RECORDER, argv, port, "/health"))
        return specs

    def observers(self) -> list[ProcessSpec]:
        """The observers that were found when the lab started (`lab.json` has their addresses)."""
        specs = []
        for name in (each for each in observers.OBSERVERS if each in self._lab.addresses):
            port = self._ports[name]
            command: Callable[[], Command]
            if name == "jaeger":
                command = functools.partial(observers.jaeger, port, self._ports["jaeger_otlp"])
            else:
                command = functools.partial(self._with_config, name)
            path = "/" if name == "jaeger" else "/-/ready"
            specs.append(self._server(name, command, readiness.http(port, path), kind="observer"))
        if "watch" in self._lab.addresses:
            port = self._ports["watch"]
            argv = ["--port", str(port), "--lab-dir", str(self._home)]
            specs.append(self._tool("watch", WATCH, argv, port, "/health", kind="observer"))
        return specs

    def _with_config(self, name: str) -> Command:
        """Write the configuration of Prometheus or Alertmanager: the command that starts it."""
        config = self.monitoring.write(name)
        start = observers.prometheus if name == "prometheus" else observers.alertmanager
        return start(config, self._data(name), self._ports[name])

    def proxy(self) -> ProcessSpec:
        """The fault proxy of a proxied lab; `proxy_config.write` must come first."""
        argv = self.proxy_config.arguments()
        return self._tool("proxy", PROXY, argv, self._ports["proxy"], "/version")

    def instance(self, service: Service, number: int) -> ProcessSpec:
        """The specification of an instance, e.g. `orders-2`."""
        port = self.port_of(service, number)
        name = f"{service.name}-{number}"
        program = Program(
            self._topology.code.program,
            [service.name],
            self.settings(service, name, port),
            self._log(name),
        )
        return ProcessSpec(
            name=name,
            kind="service",
            service=service.name,
            port=port,
            log=program.log,
            start=lambda on_exit: self._launcher.start(name, program, on_exit),
            is_ready=readiness.http(port, "/ready"),
        )

    def port_of(self, service: Service, number: int) -> int:
        return self._lab.port_base + service.offset + number - 1

    def settings(self, service: Service, instance: str, port: int) -> dict[str, str]:
        """The environment of an instance; docs/architecture.md lists the settings."""
        addresses, stores = self._lab.addresses, self._lab.stores
        env = {
            "SERVICE": service.name,
            "INSTANCE": instance,
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "VERSION": __version__,
            "SERVICE_SECRET": self._lab.service_secret,
            "LAB_TOKEN": self._lab.token,
            "OTLP_ENDPOINT": addresses.get("recorder", ""),
            "OTLP_TOKEN": self._lab.signals_token,
            "LAB_FAULTS": str(self._home / "run" / "faults"),
            "LAB_RESILIENCE": str(overrides_file(self._home)),
        }
        for server in servers_of(service):
            url = addresses["mail_smtp"] if server == SMTP else stores[server][service.name]
            env[URL_SETTINGS[server][0]] = self.proxy_config.through(service.name, server, url)
        env["EDGES"] = self.proxy_config.setting(service.name)
        for name, value in self._lab.settings.items():
            target, dot, own = name.rpartition(".")
            if not dot or target in (service.name, instance):
                env[own] = value
        return env

    @property
    def _conf(self) -> Path:
        return self._home / "run" / "nginx" / "nginx.conf"

    def _data(self, name: str) -> Path:
        return self._home / "data" / name

    def _log(self, name: str, ending: str = "jsonl") -> Path:
        return self._home / "logs" / f"{name}.{ending}"

    def _server(
        self,
        name: str,
        command: Callable[[], Command],
        ready: readiness.ReadinessCheck,
        stop_signal: signal.Signals = signal.SIGTERM,
        kind: str = "server",
    ) -> ProcessSpec:
        log = self._log(name, "log")

        async def start(on_exit: OnExit) -> int:
            return self._children.start(command(), log, on_exit)

        port = self._ports[name]
        return ProcessSpec(name, kind, port, log, start, ready, stop_signal=stop_signal)

    def _tool(
        self, name: str, module: str, argv: list[str], port: int, path: str, kind: str = "tool"
    ) -> ProcessSpec:
        for_all = {name: value for name, value in self._lab.settings.items() if "." not in name}
        program = Program(module, argv, for_all, self._log(name))

        async def start(on_exit: OnExit) -> int:
            return await self._launcher.start(name, program, on_exit)

        return ProcessSpec(name, kind, port, program.log, start, readiness.http(port, path))


def _has(module: str) -> bool:
    try:
        return find_spec(f"{module}.__main__") is not None
    except ModuleNotFoundError:
        return False
