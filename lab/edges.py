"""Every caller->callee edge of a topology, the port on which the fault proxy listens for it, and servers' URLs."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from lab.topology import REPLICAS_MAX, STORES, Service, Topology

INGRESS = "ingress"
SMTP = "smtp"
HOST = "127.0.0.1"
# by server: the setting with its URL, and the URL's form
URL_SETTINGS = {
    "postgres": ("DATABASE_URL", "postgresql://{user}:{password}@{at}/{user}"),
    "valkey": ("VALKEY_URL", "redis://{user}:{password}@{at}/0"),
    "nats": ("NATS_URL", "nats://{user}:{password}@{at}"),
    SMTP: ("SMTP_URL", "smtp://{at}"),
}
# by store: the lab's own user, and the variable of its password
ADMINS = {
    "postgres": ("postgres", "POSTGRES_PASSWORD"),
    "valkey": ("lab", "VALKEY_PASSWORD_LAB"),
    "nats": ("lab", "NATS_PASSWORD_LAB"),
}


@dataclass(frozen=True)
class Edge:
    """`caller` is a service or the ingress, `callee` an instance (`payments-1`) or a server (`postgres`).

    Both offsets are relative to the port base: `offset` is the edge's listener, `callee_offset` the callee's own.
    """

    caller: str
    callee: str
    offset: int
    callee_offset: int

    @property
    def name(self) -> str:
        return f"{self.caller}->{self.callee}"

    def listen_address(self, port_base: int) -> str:
        """host:port of the edge, which the caller uses."""
        return f"{HOST}:{port_base + self.offset}"

    def upstream_address(self, port_base: int) -> str:
        """host:port of the callee itself."""
        return f"{HOST}:{port_base + self.callee_offset}"


def all_edges(topology: Topology) -> list[Edge]:
    """All possible edges, with those of future instances: an edge's port never changes while a lab is up."""
    first = topology.lab["proxy"].offset + 1
    ends = enumerate(_ends(topology), start=first)
    return [Edge(caller, callee, offset, at) for offset, (caller, callee, at) in ends]


def edges_of(topology: Topology, instances: Collection[str]) -> list[Edge]:
    """The edges that exist while these instances run."""
    servers = {*STORES, SMTP}
    return [
        edge for edge in all_edges(topology) if edge.callee in servers or edge.callee in instances
    ]


def edges_setting(edges: Collection[Edge], caller: str, port_base: int) -> str:
    """The setting EDGES of a service: the address of each instance that it may call."""
    found = (each for each in edges if each.caller == caller and "-" in each.callee)
    return ",".join(f"{each.callee}={each.listen_address(port_base)}" for each in found)


def servers_of(service: Service) -> list[str]:
    """The servers that a service connects to; publishing and consuming events requires NATS."""
    needs = {*service.stores, service.sends}
    needs |= {"nats"} if service.publishes or service.consumes else set()
    return [name for name in (*STORES, SMTP) if name in needs]


def users_of(store: str, topology: Topology) -> dict[str, str]:
    """The users of a store: the lab's own and each service that uses it, with the variable of the password."""
    prefix = "DB" if store == "postgres" else store.upper()
    services = (each.name for each in topology.services.values() if store in servers_of(each))
    return dict([ADMINS[store]]) | {name: f"{prefix}_PASSWORD_{name.upper()}" for name in services}


def url_of(server: str, at: str, user: str = "", password: str = "") -> str:
    """The URL of a server at `at` (host:port)."""
    return URL_SETTINGS[server][1].format(user=user, password=password, at=at)


def _ends(topology: Topology) -> Iterator[tuple[str, str, int]]:
    """(caller, callee, the callee's offset), in an order that depends on the topology only."""
    offsets = {name: listener.offset for name, listener in topology.servers.items()}
    offsets[SMTP] = topology.lab["mail_smtp"].offset
    for service in topology.services.values():
        for server in servers_of(service):
            yield service.name, server, offsets[server]
    callees_of: dict[str, tuple[str, ...]] = {INGRESS: (topology.ingress.balances,)}
    callees_of |= {service.name: service.calls for service in topology.services.values()}
    for caller, callees in callees_of.items():
        for callee in callees:
            offset = topology.services[callee].offset
            for number in range(REPLICAS_MAX):
                yield caller, f"{callee}-{number + 1}", offset + number
