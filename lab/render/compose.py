"""The block of docker-compose.yml that lists the shop's instances; the rest of the file is written by hand."""

from collections.abc import Mapping

from lab.state import PORT_BASE
from lab.topology import PROJECT, REPLICAS_MAX, Service, Topology

FILE = "docker-compose.yml"

BEGIN = "# --- rendered from system/topology.toml by `lab render`: edit that, or lab/render/compose.py ---"
END = "# --- the end of what is rendered ---"

# Where an instance finds what it stands on, inside the lab's own network.
POSTGRES = "postgresql://{name}:${{{variable}:-}}@postgres:5432/{name}"
# What differs from the others' limit: users hashes two passwords at a time, 19 MiB each.
MEMORY = {"users": "112M"}
STORE_SETTINGS = {"valkey": ("VALKEY_URL", "redis://valkey:6379/0")}


def files(topology: Topology) -> dict[str, str]:
    """docker-compose.yml as it is, with its block rendered anew."""
    return {FILE: replaced((PROJECT / FILE).read_text(), topology)}


def block(topology: Topology) -> str:
    """From BEGIN to END: the databases' passwords, then each instance as a service of its own."""
    lines = [BEGIN, "x-databases: &databases"]
    lines += [
        f"  {password_variable(service.name)}: ${{{password_variable(service.name)}:-}}"
        for service in topology.services.values()
        if "postgres" in service.stores
    ]
    lines += ["", "services:"]
    for service in topology.services.values():
        for number in range(1, service.replicas + 1):
            lines += [*_instance(service, number), ""]
    return "\n".join([*lines, f"  {END}"])


def replaced(text: str, topology: Topology) -> str:
    """docker-compose.yml `text` with its block rendered anew. Raises ValueError without the marks."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(f"  {END}")
    if not begin or not end:
        raise ValueError(f"no rendered block: expected the lines\n{BEGIN}\nand\n  {END}")
    return before + block(topology) + after


def port_variable(name: str) -> str:
    """`PORT_ORDERS_1`: the variable with the port of `orders-1` on the host."""
    return "PORT_" + name.replace("-", "_").replace(" ", "_").upper()


def password_variable(service: str) -> str:
    """`DB_PASSWORD_ORDERS`: the variable with the password of the role `orders`."""
    return f"DB_PASSWORD_{service.upper()}"


def inner_port(service: Service) -> int:
    """Where every instance of the service listens in its container; each service has another.

    An address that was given to another container meanwhile then refuses, rather than answers.
    """
    return PORT_BASE + service.offset


def variables(topology: Topology, port_base: int) -> Mapping[str, str]:
    """The ports on the host of a lab at `port_base`, by variable; of instances yet to come too."""
    ports = topology.ports(port_base)
    for service in topology.services.values():
        for number in range(REPLICAS_MAX):
            ports[f"{service.name}-{number + 1}"] = port_base + service.offset + number
    return {port_variable(name): str(port) for name, port in ports.items()}


def _instance(service: Service, number: int) -> list[str]:
    name = f"{service.name}-{number}"
    inner, outer = inner_port(service), PORT_BASE + service.offset + number - 1
    stores = list(service.stores)
    lines = [
        f"  {name}:",
        "    <<: *instance",
        f"    hostname: {name}",
        f"    command: [chassis.run, {service.name}]",
    ]
    if memory := MEMORY.get(service.name):
        limits = f'{{memory: {memory}, cpus: "1.0", pids: 200}}'
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
    if "postgres" in stores:
        url = POSTGRES.format(name=service.name, variable=password_variable(service.name))
        lines.append(f"      DATABASE_URL: {url}")
    for store, (variable, url) in STORE_SETTINGS.items():
        if store in stores:
            lines.append(f"      {variable}: {url}")
    if service.sends == "smtp":
        lines.append("      SMTP_URL: smtp://mail:8174")
    needed = [f"{store}: {{condition: service_healthy}}" for store in stores]
    if needed:
        lines.append(f"    depends_on: {{{', '.join(needed)}}}")
    return lines
