"""The fault proxy's container: its listeners, and the addresses that callers use in the containers' network."""

from lab.edges import INGRESS, Edge, servers_of
from lab.render.compose import inner_port, server_addresses, url_setting
from lab.runtimes.compose.specs import service_of
from lab.runtimes.processes.proxy_config import ProxyConfig
from lab.state import PORT_BASE
from lab.topology import Service

PROXY = "proxy"


class ContainerProxyConfig(ProxyConfig):
    """As with processes, but every edge is a port of one container, which callers reach by its name."""

    def environment(self, service: Service) -> dict[str, str]:
        """The settings of a service's instances; none in a lab that is not proxied."""
        if not self._edges:
            return {}
        settings = {"EDGES": self._instances_of(service.name)}
        for server in servers_of(service):
            at = self._inside(self._by_name[f"{service.name}->{server}"])
            setting, url = url_setting(service, server, at, self._topology)
            settings[setting] = url
        return settings

    def gateways(self, instances: list[str]) -> list[str]:
        """The addresses (host:port) at which nginx reaches these gateways."""
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
            "upstream": server_addresses(self._topology).get(edge.callee)
            or self._instance(edge.callee),
        }

    def _instance(self, name: str) -> str:
        return f"{name}:{inner_port(self._topology.services[service_of(name, self._topology)])}"
