"""Checks that the names in an experiment file exist: kinds of faults, targets, edges, failpoints, routes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from chassis.faults.catalogue import entries as service_faults
from lab.chaos.experiment.yaml_lines import Document
from lab.fault_kinds import edges, processes
from lab.fault_kinds.failpoints import failpoints
from lab.load.profiles import ACTIONS
from lab.nearest import nearest
from lab.strict_table import Where
from lab.topology import load

OURS = "lab.chaos."
INSTANCE = re.compile(r"-[1-9][0-9]*$")
LOG_IN_ROUTES = ("POST /api/login", "POST /api/refresh")


def check_names(document: Document, activities: Iterable[tuple[Where, Any]]) -> None:
    """Raises MalformedFileError with the line and the most similar name."""
    for where, activity in activities:
        provider = activity.get("provider")
        if isinstance(provider, dict) and str(provider.get("module", "")).startswith(OURS):
            _check_arguments(document, (*where, "provider", "arguments"), provider)
    known = {*ACTIONS.values(), *LOG_IN_ROUTES}
    for where, table in _tables_with_routes(document.data):
        route = table.get("route")
        if isinstance(route, str) and route and route not in known:
            raise document.error(f"no shopper uses route {route!r}{nearest(route, known)}", *where)


def _check_arguments(document: Document, where: Where, provider: dict[str, Any]) -> None:
    arguments = provider.get("arguments") or {}
    scope = arguments.get("scope")
    given = {**arguments, "failpoint": scope.get("failpoint") if isinstance(scope, dict) else None}
    for name, known in _known_by_argument().items():
        for value in _texts(given.get(name)):
            plain = INSTANCE.sub("", value) if name == "target" else value
            if plain in known or (name == "target" and "->" in value):
                continue
            line = (*where, "scope", name) if name == "failpoint" else (*where, name)
            raise document.error(f"unknown {name} {value!r}{nearest(plain, known)}", *line)
    for value in [*_texts(given.get("edge")), *_texts(given.get("target"))]:
        if "->" in value:
            _check_edge(document, where, value)


def _check_edge(document: Document, where: Where, edge: str) -> None:
    topology = load()
    caller, _, callee = edge.partition("->")
    callers = {"ingress", *topology.services}
    callees = {*topology.services, *topology.servers, "smtp"}
    for name, known in ((caller, callers), (INSTANCE.sub("", callee), callees)):
        if name not in known:
            raise document.error(f"edge {edge!r}: unknown {name!r}{nearest(name, known)}", *where)


def _known_by_argument() -> dict[str, set[str]]:
    topology = load()
    kinds = {*(each["kind"] for each in service_faults()), *edges.KINDS, *processes.KINDS}
    targets = {"ingress", "nginx", *topology.services, *topology.servers, *topology.lab}
    points = {name for each in failpoints() for name in each.names}
    return {"kind": kinds, "target": targets, "failpoint": points}


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
