"""Reads the committed dashboards: panels, queries, annotations and variables."""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from lab.topology import PROJECT

FOLDER = PROJECT / "dashboards" / "json"
STEMS = sorted(path.stem for path in FOLDER.glob("*.json"))

# Values of Grafana's variables for queries outside Grafana.
VARIABLES = {
    "$service": ".*",
    "$instance": ".*",
    "$arm": ".*",
    "$__rate_interval": "10s",
    "$__range": "60s",
}


class Query(NamedTuple):
    """One query of a panel or an annotation."""

    board: str
    title: str
    ref: str
    expr: str

    def __str__(self) -> str:
        return f"{self.board}: {self.title} [{self.ref}]"

    @property
    def promql(self) -> str:
        """The query as Grafana sends it to Prometheus."""
        expr = self.expr
        for name, value in VARIABLES.items():
            expr = expr.replace(name, value)
        return expr


def board(stem: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((FOLDER / f"{stem}.json").read_text())
    return content


def panels(stem: str) -> list[dict[str, Any]]:
    """The panels without the rows."""
    return [panel for panel in board(stem)["panels"] if panel["type"] != "row"]


def queries() -> Iterator[Query]:
    """The queries of all panels of all dashboards."""
    for stem in STEMS:
        for panel in panels(stem):
            for target in panel["targets"]:
                yield Query(stem, panel["title"], target["refId"], target["expr"])


def annotations() -> Iterator[Query]:
    """The annotation queries, which are the same in every dashboard."""
    for mark in board(STEMS[0])["annotations"]["list"]:
        yield Query("annotations", mark["name"], "", mark["expr"])


def series(promql: str) -> set[str]:
    """The names of the series that an expression reads."""
    text = re.sub(r'"(?:[^"\\]|\\.)*"', "", promql)
    text = re.sub(r"\{[^}]*\}|\[[^]]*\]", "", text)
    text = re.sub(r"\b(?:by|on|ignoring|without)\s*\([^)]*\)", "", text)
    words = re.findall(r"[A-Za-z_:][\w:]*(?!\w|:|\s*\()", text)
    return {word for word in words if word not in ("or", "and", "unless", "bool")}
