"""Reads and checks system/topology.toml, the list of all services; each error names its line."""

import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from lab.nearest import nearest

REPLICAS_MAX = 10
MEMORY_MIB = 78
PROJECT = Path(__file__).resolve().parents[1]
DEFAULT_PATH = PROJECT / "system" / "topology.toml"
STORES = ("postgres", "valkey", "nats")
Section = TypeVar("Section")


class TopologyError(ValueError):
    """The file is invalid; the message is `file:line: problem; expected value`."""

    exit_code = 2


@dataclass(frozen=True)
class Slo:
    """A service's objectives: the share of good answers, and the 99th percentile of latency in ms."""

    availability: float
    latency_ms_p99: float


@dataclass(frozen=True)
class Service:
    """One kind of service. Instance n listens on port_base + offset + n - 1.

    `writes` are the buckets of the broker that it writes. `memory_mib` limits its container.
    """

    name: str
    offset: int
    replicas: int
    slo: Slo
    calls: tuple[str, ...] = ()
    stores: tuple[str, ...] = ()
    publishes: tuple[str, ...] = ()
    consumes: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    sends: str = ""
    outside: bool = False
    memory_mib: int = MEMORY_MIB


@dataclass(frozen=True)
class Ingress:
    """nginx and the service that it balances."""

    offset: int
    balances: str


@dataclass(frozen=True)
class Listener:
    """A port of a server or of the lab's own programs."""

    offset: int
    monitor_offset: int | None = None


@dataclass(frozen=True)
class Code:
    """The services' code: the program that serves a service, and the module of its app."""

    program: str = "chassis.run"
    app: str = "shop.{name}.app"


@dataclass(frozen=True)
class Topology:
    """The whole system. `path` is its file."""

    path: Path
    ingress: Ingress
    services: Mapping[str, Service]
    servers: Mapping[str, Listener]
    lab: Mapping[str, Listener]
    code: Code = field(default_factory=Code)

    def ports(self, port_base: int) -> dict[str, int]:
        """Every port that the system opens at its start, by listener: `orders-1`, `postgres`, `control`..."""
        offsets = {"nginx": self.ingress.offset}
        for service in self.services.values():
            for number in range(1, service.replicas + 1):
                offsets[f"{service.name}-{number}"] = service.offset + number - 1
        for name, listener in {**self.servers, **self.lab}.items():
            offsets[name] = listener.offset
            if listener.monitor_offset is not None:
                offsets[f"{name} monitoring"] = listener.monitor_offset
        return {name: port_base + offset for name, offset in offsets.items()}


IN_CONTAINERS = ("grafana", "fluentd", "jupyter")  # no process listens there without containers
# optional in the file
OBSERVERS = ("jaeger", "jaeger_otlp", "prometheus", "alertmanager", "watch", *IN_CONTAINERS)
LAB_LISTENERS = ("mail_smtp", "mail_page", "recorder", "control", "locust_ui", "proxy")
TABLES = ("ingress", "services", "servers", "lab", "code")


def load(path: Path = DEFAULT_PATH) -> Topology:
    """Read and check a topology. Raises TopologyError."""
    try:
        text = path.read_text()
    except OSError as error:
        raise TopologyError(f"{path}: cannot be read: {error.strerror}") from None
    return parse(text, path)


def parse(text: str, path: Path) -> Topology:
    """Read and check a topology's text; `path` is for error messages. Raises TopologyError."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        number = line[1] if line else max(1, len(text.splitlines()))
        raise TopologyError(f"{path}:{number}: {error}; expected TOML") from None
    return _Reader(text, path).topology(data)


class _Reader:
    def __init__(self, text: str, path: Path) -> None:
        self._lines = text.splitlines()
        self._path = path

    def topology(self, data: dict[str, Any]) -> Topology:
        self._known(data, TABLES, "")
        for table in ("ingress", "services", "servers", "lab"):
            if not isinstance(data.get(table), dict) or not data[table]:
                raise self._error("", "", f"expected a table [{table}]")
        services = {name: self._service(name, table) for name, table in data["services"].items()}
        servers = self._listeners(data["servers"], "servers", STORES)
        lab = self._listeners(data["lab"], "lab", LAB_LISTENERS, OBSERVERS)
        topology = Topology(
            self._path,
            self._section(Ingress, data["ingress"], "ingress"),
            services,
            servers,
            lab,
            self._section(Code, data.get("code", {}), "code"),
        )
        self._references(topology)
        self._offsets(topology)
        return topology

    def _service(self, name: str, table: Any) -> Service:
        where = f"services.{name}"
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            raise self._error(where, "", f"service name {name!r}: expected lower-case letters")
        if not isinstance(table, dict):
            raise self._error(where, "", "expected a table")
        service = self._section(Service, {**table, "name": name}, where)
        if not 1 <= service.replicas <= REPLICAS_MAX:
            raise self._error(where, "replicas", f"expected 1 to {REPLICAS_MAX} replicas")
        if service.memory_mib < 1:
            raise self._error(where, "memory_mib", "memory_mib: expected 1 or more")
        if service.sends not in ("", "smtp"):
            raise self._error(where, "sends", f"sends {service.sends!r}: expected 'smtp'")
        return service

    def _listeners(
        self,
        data: dict[str, Any],
        table: str,
        expected: Collection[str],
        optional: Collection[str] = (),
    ) -> dict[str, Listener]:
        self._known(data, [*expected, *optional], table)
        for name in expected:
            if name not in data:
                raise self._error(table, "", f"expected {name} = {{ offset = ... }}")
        return {name: self._section(Listener, value, table, name) for name, value in data.items()}

    def _section(self, kind: type[Section], data: Any, where: str, key: str = "") -> Section:
        """`data` as the dataclass `kind`. Raises TopologyError for unknown or missing keys and wrong types."""
        if not isinstance(data, dict):
            raise self._error(where, key, f"expected a table, got {data!r}")
        known = {each.name: each for each in fields(kind)}  # type: ignore[arg-type]
        self._known(data, known, where, key)
        hints = get_type_hints(kind)
        values = {}
        for name, each in known.items():
            if name in data:
                values[name] = self._value(hints[name], data[name], where, key or name, name)
            elif each.default is MISSING and each.default_factory is MISSING:
                raise self._error(where, key, f"{name} is missing")
        return kind(**values)

    def _value(self, hint: Any, value: Any, where: str, key: str, name: str) -> Any:
        if hint is Slo:
            return self._section(Slo, value, where, key)
        if get_origin(hint) is tuple:
            if isinstance(value, list) and all(isinstance(item, str) for item in value):
                return tuple(value)
            raise self._error(where, key, f"{name}: expected a list of names, got {value!r}")
        allowed = get_args(hint) or (hint,)
        if float in allowed:
            allowed = (int, float)
        if isinstance(value, allowed) and (not isinstance(value, bool) or bool in allowed):
            return value
        raise self._error(where, key, f"{name}: expected {allowed[0].__name__}, got {value!r}")

    def _references(self, topology: Topology) -> None:
        services = topology.services
        published = {event for each in services.values() for event in each.publishes}
        if topology.ingress.balances not in services:
            wrong = f"balances {topology.ingress.balances!r}" + nearest(
                topology.ingress.balances, services
            )
            raise self._error("ingress", "balances", wrong)
        for service in services.values():
            for key, names, known, what in (
                ("calls", service.calls, services, "a service"),
                ("stores", service.stores, STORES, "a store"),
                ("consumes", service.consumes, published, "published by any service"),
            ):
                for name in names:
                    if name not in known:
                        wrong = f"{key}: {name!r} is not {what}{nearest(name, known)}"
                        raise self._error(f"services.{service.name}", key, wrong)
            if service.name in service.calls:
                raise self._error(f"services.{service.name}", "calls", "a service calls itself")

    def _offsets(self, topology: Topology) -> None:
        """Check that no two listeners have one port, with room for REPLICAS_MAX instances."""
        taken: dict[int, str] = {}
        owners = [("ingress", "offset", "ingress", topology.ingress.offset)]
        for service in topology.services.values():
            for number in range(REPLICAS_MAX):
                name = f"service {service.name}"
                owners.append((f"services.{service.name}", "offset", name, service.offset + number))
        for table, listeners in (("servers", topology.servers), ("lab", topology.lab)):
            for name, listener in listeners.items():
                owners.append((table, name, name, listener.offset))
                if listener.monitor_offset is not None:
                    owners.append((table, name, f"{name} monitoring", listener.monitor_offset))
        for where, key, name, offset in owners:
            if not 0 <= offset < 1000:
                raise self._error(where, key, f"offset {offset}: expected 0 to 999")
            if offset in taken:
                wrong = f"offset {offset} of {name} is taken by {taken[offset]}"
                wrong += f" (a service takes {REPLICAS_MAX} in a row)"
                raise self._error(where, key, wrong)
            if offset > topology.lab["proxy"].offset:
                wrong = f"offset {offset} of {name}: those behind the proxy's are its edges'"
                raise self._error(where, key, wrong)
            taken[offset] = name

    def _known(
        self, data: Mapping[str, Any], known: Collection[str], where: str, key: str = ""
    ) -> None:
        for name in data:
            if name not in known:
                wrong = f"unknown key {name!r}{nearest(name, known)}"
                raise self._error(where or name, key or name, wrong)

    def _error(self, table: str, key: str, wrong: str) -> TopologyError:
        return TopologyError(f"{self._path}:{self._line(table, key)}: {wrong}")

    def _line(self, table: str, key: str) -> int:
        """The line of `key` in `[table]`, else the line of the table's header, else 1."""
        inside, header = table == "", 1
        for number, line in enumerate(self._lines, 1):
            if found := re.match(r"\s*\[\s*([^\[\]]+?)\s*\]", line):
                inside = found[1].replace('"', "") == table
                header = number if inside else header
            elif inside and key and re.match(rf'\s*"?{re.escape(key)}"?\s*=', line):
                return number
        return header
