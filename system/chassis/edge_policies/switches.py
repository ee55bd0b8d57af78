"""The lab's switches on the policies of one instance, by edge. The lab's settings survive a restart."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from chassis.resilience.profile import ProfileError, off_for

log = logging.getLogger("chassis.edge_policies.switches")
ALL_EDGES = "*"  # in the file: the settings of every edge without an entry of its own


class EdgeSwitches(Protocol):
    """What the lab can change and read on one edge: its profile and its single policies."""

    def use(self, profile: str) -> None: ...
    def switch(self, kind: str, on: bool) -> None: ...
    def kinds(self) -> tuple[str, ...]: ...
    def snapshot(self) -> dict[str, object]: ...


class PolicySwitches:
    """The switches of all edges of an instance.

    `saved` is the lab's file of settings, `{edge: {"profile"?, "switches"?}}`. It is only read, each
    time an edge is added. None: no file.
    """

    def __init__(self, saved: Path | None = None) -> None:
        self._saved = saved
        self._edges: dict[str, EdgeSwitches] = {}

    def add(self, edge: str, switches: EdgeSwitches) -> None:
        """Add an edge, and apply what the lab has set for it before."""
        self._edges[edge] = switches
        rows = self._read()
        row = rows.get(edge, rows.get(ALL_EDGES))
        if row is None:
            return
        known = {
            kind: on for kind, on in row.get("switches", {}).items() if kind in switches.kinds()
        }
        try:
            self.change({**row, "switches": known, "edge": edge})
        except ProfileError as error:
            log.error("%s: the settings of %s are ignored: %s", self._saved, edge, error)

    def view(self) -> dict[str, dict[str, object]]:
        """The live state of every policy, by edge."""
        return {
            edge: {**switches.snapshot(), "kinds": switches.kinds()}
            for edge, switches in self._edges.items()
        }

    def change(self, wanted: Mapping[str, Any]) -> None:
        """`{"edge"?, "profile"?, "switches"?: {kind: bool}}`; without an edge, all. Raises ProfileError."""
        unknown = sorted(set(wanted) - {"edge", "profile", "switches"})
        if unknown:
            raise ProfileError(f"unknown field {unknown[0]!r}; expected edge, profile, switches")
        edges, edge = self._edges, wanted.get("edge")
        if edge is not None and edge not in edges:
            raise ProfileError(f"no edge {edge!r} here; expected one of {', '.join(sorted(edges))}")
        switches = wanted.get("switches", {})
        if not isinstance(switches, dict) or not all(
            isinstance(on, bool) for on in switches.values()
        ):
            raise ProfileError("switches: expected an object of kind: true or false")
        chosen = list(edges.values()) if edge is None else [edges[edge]]
        # all or nothing: every check comes before the first change
        if "profile" in wanted:
            off_for(wanted["profile"])
        known = {kind for each in chosen for kind in each.kinds()}
        absent = sorted(set(switches) - known)
        if absent:
            raise ProfileError(
                f"no policy {absent[0]!r} here; expected one of {', '.join(sorted(known))}"
            )
        for each in chosen:
            if "profile" in wanted:
                each.use(wanted["profile"])
            for kind in set(switches) & set(each.kinds()):
                each.switch(kind, switches[kind])

    def _read(self) -> dict[str, dict[str, Any]]:
        if self._saved is None:
            return {}
        try:
            rows = json.loads(self._saved.read_bytes())
            return {edge: dict(row) for edge, row in rows.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            log.error("%s cannot be read and is ignored: %s", self._saved, error)
            return {}
