"""The fault proxy of a lab: its listeners follow the instances, and callers get the listeners' addresses."""

import asyncio
import json
from collections.abc import Collection
from pathlib import Path
from urllib.parse import urlsplit

from lab import edges
from lab.edges import INGRESS, Edge
from lab.files import write_private
from lab.proxy.client import ProxyClient
from lab.state import Lab
from lab.topology import Topology


class ProxyConfig:
    """One lab's edges. In a lab that is not proxied, nothing here has an effect or changes an address."""

    def __init__(self, lab: Lab, topology: Topology) -> None:
        self._lab = lab
        self._topology = topology
        self._edges = edges.all_edges(topology) if lab.proxied else []
        self._by_name = {edge.name: edge for edge in self._edges}
        self._folder = Path(lab.home) / "run" / "proxy"

    def arguments(self) -> list[str]:
        """The proxy's command line; it reads the edges at each start."""
        port = self._topology.ports(self._lab.port_base)["proxy"]
        argv = [
            "--host",
            edges.HOST,
            "--port",
            str(port),
            "--config",
            str(self._config),
            "--log-faults",
        ]
        if self._lab.proxy_token:
            argv += ["--token-file", str(self._folder / "token")]
        return argv

    def write(self, instances: Collection[str]) -> None:
        """Write the edges of these instances, for the proxy's next start."""
        self._folder.mkdir(parents=True, exist_ok=True)
        write_private(self._config, json.dumps(self._wanted(instances), indent=1) + "\n")
        write_private(self._folder / "token", self._lab.proxy_token + "\n")

    async def follow(self, instances: Collection[str]) -> None:
        """Add the edges of new instances and delete those of removed ones; no other edge changes.

        Raises ProxyError, ProxyUnreachableError.
        """
        if self._edges:
            self.write(instances)
            await asyncio.to_thread(self._follow, self._wanted(instances))

    def ports(self, instance: str) -> dict[str, int]:
        """The ports of this instance's edges, by edge; they must be free."""
        base = self._lab.port_base
        return {e.name: base + e.offset for e in self._edges if e.callee == instance}

    def through(self, caller: str, server: str, url: str) -> str:
        """The `url` of a server that this caller uses."""
        edge = self._by_name.get(f"{caller}->{server}")
        if edge is None:
            return url
        return url.replace(self._of(urlsplit(url).port), edge.listen_address(self._lab.port_base))

    def setting(self, caller: str) -> str:
        """The setting EDGES of a service (docs/architecture.md); empty without the proxy."""
        return edges.edges_setting(self._edges, caller, self._lab.port_base)

    def ingress_port(self, instance: str, port: int) -> int:
        """The port on which nginx reaches a gateway that listens on `port`."""
        edge = self._by_name.get(f"{INGRESS}->{instance}")
        return self._lab.port_base + edge.offset if edge else port

    @property
    def _config(self) -> Path:
        return self._folder / "edges.json"

    def _of(self, port: int | None) -> str:
        return f"{edges.HOST}:{port}"

    def _wanted(self, instances: Collection[str]) -> list[dict[str, str]]:
        return [self._entry(edge) for edge in edges.edges_of(self._topology, instances)]

    def _entry(self, edge: Edge) -> dict[str, str]:
        base = self._lab.port_base
        return {
            "name": edge.name,
            "listen": edge.listen_address(base),
            "upstream": edge.upstream_address(base),
        }

    def _follow(self, wanted: list[dict[str, str]]) -> None:
        address = urlsplit(self._lab.addresses["proxy"]).netloc
        client = ProxyClient(address, self._lab.proxy_token or None)
        existing = client.list()
        missing = [each for each in wanted if each["name"] not in existing]
        if missing:  # the others keep their state: one of them may be down on purpose
            client.populate(missing)
        for name in existing.keys() & (self._by_name.keys() - {each["name"] for each in wanted}):
            client.delete(name)
