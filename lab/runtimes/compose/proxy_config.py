"""The fault proxy's container: what it listens on for whom, and how callers are told, by the network's names."""

from lab.edges import INGRESS, SMTP, Edge, servers_of
from lab.render.compose import POSTGRES, inner_port, password_variable
from lab.runtimes.compose.specs import service_of
from lab.runtimes.processes.proxy_config import ProxyConfig
from lab.state import PORT_BASE
from lab.topology import Service

PROXY = "proxy"
SERVERS = {
    "postgres": "postgres:5432",
    "valkey": "valkey:6379",
    "nats": "nats:4222",
    SMTP: "mail:8174",
}
URLS = {
    "valkey": ("VALKEY_URL", "redis://{at}/0"),
    "nats": ("NATS_URL", "nats://{at}"),
    SMTP: ("SMTP_URL", "smtp://{at}"),
}


class ContainerProxyConfig(ProxyConfig):
    """As on one machine, but every edge is a port of one container that all others reach by its name."""

    def environment(self, service: Service) -> dict[str, str]:
        """What the instances of a service are told; nothing in a lab that is not proxied."""
        if not self._edges:
            return {}
        told = {"EDGES": self._instances_of(service.name)}
        for server in servers_of(service):
            at = self._inside(self._by_name[f"{service.name}->{server}"])
            if server == "postgres":
                url = POSTGRES.format(name=service.name, variable=password_variable(service.name))
                told["DATABASE_URL"] = url.replace(SERVERS["postgres"], at)
            else:
                name, form = URLS[server]
                told[name] = form.format(at=at)
        return told

    def gateways(self, instances: list[str]) -> list[str]:
        """Where nginx finds these gateways."""
        return [self._inside(self._by_name[f"{INGRESS}->{each}"]) for each in instances]

    def _instances_of(self, caller: str) -> str:
        found = (each for each in self._edges if each.caller == caller and "-" in each.callee)
        return ",".join(f"{each.callee}={self._inside(each)}" for each in found)

    def _inside(self, edge: Edge) -> str:
        return f"{PROXY}:{PORT_BASE + edge.offset}"

    def _entry(self, edge: Edge) -> dict[str, str]:
        return {
            "name": edge.name,
            "listen": f"0.0.0.0:{PORT_BASE + edge.offset}",
            "upstream": SERVERS.get(edge.callee) or self._instance(edge.callee),
        }

    def _instance(self, name: str) -> str:
        return f"{name}:{inner_port(self._topology.services[service_of(name, self._topology)])}"
