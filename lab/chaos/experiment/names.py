"""Checks that the names in an experiment file exist: kinds of faults, targets, edges, failpoints, routes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from chassis.faults.catalogue import entries as service_faults
from lab.chaos.experiment.yaml_lines import Document
from lab.fault_kinds.edges import KINDS as EDGE_KINDS
from lab.fault_kinds.failpoints import failpoints
from lab.fault_kinds.processes import KINDS as PROCESS_KINDS
from lab.load.profiles import ACTIONS
from lab.nearest import nearest
from lab.strict_table import Where
from lab.topology import Topology, load

OURS = "lab.chaos."
INSTANCE = re.compile(r"-[1-9][0-9]*$")
VARIABLE = re.compile(r"\$\{(\w+)\}")
LOG_IN_ROUTES = ("POST /api/login", "POST /api/refresh")


def check_names(document: Document, activities: Iterable[tuple[Where, Any]]) -> None:
    """Raises MalformedFileError with the line and the most similar name."""
    topology = load()
    tables = list(_tables_with_routes(document.data))
    for where, activity in [*activities, *tables]:
        provider = activity.get("provider")
        if isinstance(provider, dict) and str(provider.get("module", "")).startswith(OURS):
            place, arguments = (*where, "provider", "arguments"), provider.get("arguments")
            if isinstance(arguments, dict):
                _check_variables(document, place, arguments)
                _check_arguments(document, place, arguments, topology)
    known = {*ACTIONS.values(), *LOG_IN_ROUTES}
    for where, table in tables:
        route = table.get("route")
        if isinstance(route, str) and route and route not in known:
            raise document.error(f"no shopper uses route {route!r}{nearest(route, known)}", *where)


def _check_variables(document: Document, where: Where, arguments: dict[str, Any]) -> None:
    """The functions of the lab take no `${...}` themselves: each is a variable of the experiment."""
    groups = (document.data.get("secrets") or {}).values()
    tables = [document.data.get("configuration") or {}, *groups]
    known = {str(name) for table in tables if isinstance(table, dict) for name in table}
    for argument, value in arguments.items():
        for name in VARIABLE.findall(str(value)):
            if name not in known:
                complaint = f"no configuration or secret {name!r}{nearest(name, known)}"
                raise document.error(complaint, *where, argument)


def _check_arguments(
    document: Document, where: Where, arguments: dict[str, Any], topology: Topology
) -> None:
    def check(what: str, values: list[str], known: Iterable[str], *place: str) -> None:
        for value in values:
            if value not in known:
                complaint = f"unknown {what} {value!r}{nearest(value, known)}"
                raise document.error(complaint, *where, *place)

    targets = _texts(arguments.get("target"))
    edges = [each for each in [*targets, *_texts(arguments.get("edge"))] if "->" in each]
    kinds = {*(each["kind"] for each in service_faults()), *EDGE_KINDS, *PROCESS_KINDS}
    check("kind", _texts(arguments.get("kind")), kinds, "kind")
    instances = [_service(each) for each in targets if each not in edges]
    everything = {"ingress", "nginx", *topology.services, *topology.servers, *topology.lab}
    check("target", instances, everything, "target")
    scope = arguments.get("scope")
    if isinstance(scope, dict) and (points := _texts(scope.get("failpoint"))):
        names = {name for each in failpoints() for name in each.names}
        check("failpoint", points, names, "scope", "failpoint")
    callees = {*topology.services, *topology.servers, "smtp"}
    for edge in edges:
        caller, _, callee = edge.partition("->")
        check(f"caller of {edge}:", [caller], {"ingress", *topology.services})
        check(f"callee of {edge}:", [_service(callee)], callees)


def _service(target: str) -> str:
    """The service of an instance; another target as it is."""
    return INSTANCE.sub("", target)


def _texts(value: Any) -> list[str]:
    """The given text or texts; none for another type and for a variable such as ${name}."""
    values = value if isinstance(value, list) else [value]
    return [each for each in values if isinstance(each, str) and "${" not in each]


def _tables_with_routes(data: dict[str, Any]) -> Iterator[tuple[Where, dict[str, Any]]]:
    """The limits of the verdict and of guards, and the expectation of no change."""
    for number, block in enumerate(data.get("extensions") or ()):
        if not isinstance(block, dict) or block.get("name") != "breakwater":
            continue
        for key in ("slis", "guard"):
            rows = block.get(key)
            for index, row in enumerate(rows if isinstance(rows, list) else ()):
                if isinstance(row, dict):
                    yield ("extensions", number, key, index), row
        expects = block.get("expects")
        same = expects.get("unchanged") if isinstance(expects, dict) else None
        if isinstance(same, dict):
            yield ("extensions", number, "expects"), same
