"""Renders the block of docker-compose.yml with the shop's instances; the rest of the file is written by hand."""

from collections.abc import Mapping

from lab.edges import SMTP, URL_SETTINGS, servers_of, url_of, users_of
from lab.state import PORT_BASE
from lab.topology import MEMORY_MIB, PROJECT, REPLICAS_MAX, STORES, Listener, Service, Topology

FILE = "docker-compose.yml"

BEGIN = "# --- rendered from system/topology.toml by `lab render`: edit that, or lab/render/compose.py ---"
END = "# --- end of the rendered block ---"

# the ports on which the stores' own images listen
STORE_PORTS = {"postgres": 5432, "valkey": 6379, "nats": 4222}


def files(topology: Topology) -> dict[str, str]:
    """docker-compose.yml with its block rendered again."""
    return {FILE: replaced((PROJECT / FILE).read_text(), topology)}


def block(topology: Topology) -> str:
    """The lines from BEGIN to END: each store's passwords, then each instance as a compose service."""
    lines = [BEGIN]
    for store in STORES:
        lines.append(f"x-{store}-passwords: &{store}-passwords")
        for variable in users_of(store, topology).values():
            # quotes for NATS, which would read 1e3 as a number
            value = f"""'"{secret(variable)}"'""" if store == "nats" else secret(variable)
            lines.append(f"  {variable}: {value}")
        lines.append("")
    lines.append("services:")
    for service in topology.services.values():
        for number in range(1, service.replicas + 1):
            lines += [*_instance(topology, service, number), ""]
    return "\n".join([*lines, f"  {END}"])


def replaced(text: str, topology: Topology) -> str:
    """The text of docker-compose.yml with its block rendered again. Raises ValueError without the marks."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(f"  {END}")
    if not begin or not end:
        raise ValueError(f"no rendered block: expected the lines\n{BEGIN}\nand\n  {END}")
    return before + block(topology) + after


def port_variable(name: str) -> str:
    """`PORT_ORDERS_1`: the variable of the port of `orders-1` on the host."""
    return "PORT_" + name.replace("-", "_").replace(" ", "_").upper()


def secret(variable: str) -> str:
    """The value of a variable without a default: without a value, compose starts nothing."""
    return f"${{{variable}:?lab up creates it}}"


def inner_port(listener: Service | Listener) -> int:
    """The port on which a service or a program of the lab listens in its container.

    Each service has its own port: an address that another container has got meanwhile then refuses connections.
    """
    return PORT_BASE + listener.offset


def server_addresses(topology: Topology) -> dict[str, str]:
    """host:port of the servers inside the containers' network."""
    addresses = {name: f"{name}:{port}" for name, port in STORE_PORTS.items()}
    return addresses | {SMTP: f"mail:{inner_port(topology.lab['mail_smtp'])}"}


def url_setting(service: Service, server: str, at: str, topology: Topology) -> tuple[str, str]:
    """The setting of a service with the URL of a server at `at` (host:port)."""
    variable = users_of(server, topology).get(service.name, "") if server in STORES else ""
    return URL_SETTINGS[server][0], url_of(server, at, service.name, secret(variable))


def variables(topology: Topology, port_base: int) -> Mapping[str, str]:
    """The ports on the host of a lab at `port_base`, by variable, with those of future instances."""
    ports = topology.ports(port_base)
    for service in topology.services.values():
        for number in range(REPLICAS_MAX):
            ports[f"{service.name}-{number + 1}"] = port_base + service.offset + number
    return {port_variable(name): str(port) for name, port in ports.items()}


def _instance(topology: Topology, service: Service, number: int) -> list[str]:
    name = f"{service.name}-{number}"
    inner, outer = inner_port(service), PORT_BASE + service.offset + number - 1
    lines = [
        f"  {name}:",
        "    <<: *instance",
        f"    hostname: {name}",
        f"    command: [chassis.run, {service.name}]",
    ]
    if service.memory_mib != MEMORY_MIB:
        limits = f'{{memory: {service.memory_mib}M, cpus: "1.0", pids: 200}}'
        lines.append(f"    deploy: {{resources: {{limits: {limits}}}}}")
    if number > 1:
        lines.append("    profiles: [full]")
    lines += [
        f"    networks: {{default: {{aliases: [{service.name}]}}}}",
        f'    ports: ["127.0.0.1:${{{port_variable(name)}:-{outer}}}:{inner}"]',
        "    environment:",
        "      <<: *settings",
        f"      SERVICE: {service.name}",
        f"      INSTANCE: {name}",
        f'      PORT: "{inner}"',
        f"      ADVERTISE: {name}:{inner}",
    ]
    addresses = server_addresses(topology)
    for server in servers_of(service):
        setting, url = url_setting(service, server, addresses[server], topology)
        lines.append(f"      {setting}: {url}")
    if service.stores:
        needed = [f"{store}: {{condition: service_healthy}}" for store in service.stores]
        lines.append(f"    depends_on: {{{', '.join(needed)}}}")
    return lines
