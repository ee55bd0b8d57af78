"""Checks hand-written files that repeat facts of the topology: `lab render` does not write these."""

import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from lab.render import compose
from lab.state import PORT_BASE
from lab.topology import MEMORY_MIB, PROJECT, Topology

PROJECT_FILE = "pyproject.toml"
JAEGER_PAGE = "system/deploy/jaeger-ui.js"
INDEPENDENCE = "services never import each other"
# compose service: the listener of each port option on its command line
PORT_OPTIONS = {
    "mail": {"--smtp-port": "mail_smtp", "--page-port": "mail_page"},
    "recorder": {"--port": "recorder"},
    "proxy": {"--port": "proxy"},
    "watch": {"--port": "watch"},
}


class Checked(NamedTuple):
    """One hand-written file, and what differs from the topology: a sentence each."""

    path: str
    problems: list[str]


def check(topology: Topology, project: Path = PROJECT) -> list[Checked]:
    """Every checked file."""
    checks: dict[str, Callable[[str, Topology], Iterator[str]]] = {
        PROJECT_FILE: _import_contract,
        compose.FILE: _compose_file,
        JAEGER_PAGE: _jaeger_page,
    }
    return [
        Checked(path, list(problems((project / path).read_text(), topology)))
        for path, problems in checks.items()
    ]


def _import_contract(text: str, topology: Topology) -> Iterator[str]:
    contracts = tomllib.loads(text)["tool"]["importlinter"]["contracts"]
    listed = next(set(each["modules"]) for each in contracts if each["name"] == INDEPENDENCE)
    services = {f"shop.{name}" for name in topology.services}
    for module in sorted(services - listed):
        yield f"the contract {INDEPENDENCE!r} lacks {module}"
    for module in sorted(listed - services):
        yield f"the contract {INDEPENDENCE!r} has {module}, which is no service of the topology"


def _jaeger_page(text: str, topology: Topology) -> Iterator[str]:
    expected = topology.lab["jaeger"].offset - topology.lab["recorder"].offset
    if f"Number(window.location.port) - {expected};" not in text:
        yield f"the recorder's port is {expected} below Jaeger's"


def _compose_file(text: str, topology: Topology) -> Iterator[str]:
    ports = compose.variables(topology, PORT_BASE)
    for variable, default in re.findall(r"\$\{(PORT_\w+):-(\d+)\}", text):
        if default != ports.get(variable):
            yield f"{variable} defaults to {default}, expected {ports.get(variable)}"
    file: dict[str, Any] = yaml.safe_load(text)
    memory = file["x-program"]["deploy"]["resources"]["limits"]["memory"]
    if memory != f"{MEMORY_MIB}M":
        yield f"x-program is limited to {memory}, expected {MEMORY_MIB}M"
    for name, options in PORT_OPTIONS.items():
        command = file["services"][name]["command"]
        for option, listener in options.items():
            expected = str(compose.inner_port(topology.lab[listener]))
            if (port := command[command.index(option) + 1]) != expected:
                yield f"{name} has {option} {port}, expected {expected}"
