"""The lab's switches on an instance's policies, by edge; what the lab has set outlives a restart."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from chassis.resilience.profile import ProfileError, off_for

log = logging.getLogger("chassis.edge_policies.switches")
ALL = "*"  # in the file: what was set for all edges, those not made yet too


class Switchboard(Protocol):
    """One edge's policies as the lab sees them: a step of the ladder, and single switches."""

    def use(self, profile: str) -> None: ...
    def switch(self, kind: str, on: bool) -> None: ...
    def kinds(self) -> tuple[str, ...]: ...
    def snapshot(self) -> dict[str, object]: ...


class Switchboards:
    """`kept` is the lab's file of what has been set, `{edge: {"profile"?, "switches"?}}`: read only
    here, each time an edge is made; None: nothing is kept."""

    def __init__(self, kept: Path | None = None) -> None:
        self._kept = kept
        self._boards: dict[str, Switchboard] = {}

    def add(self, edge: str, board: Switchboard) -> None:
        """An edge has been made; it takes on what the lab has set for it before."""
        self._boards[edge] = board
        rows = self._read()
        wish = rows.get(edge, rows.get(ALL))
        if wish is None:
            return
        switches = {
            kind: on for kind, on in wish.get("switches", {}).items() if kind in board.kinds()
        }
        try:
            self.change({**wish, "switches": switches, "edge": edge})
        except ProfileError as error:
            log.error("%s: what was set for %s is not heeded: %s", self._kept, edge, error)

    def view(self) -> dict[str, dict[str, object]]:
        """The live state of every policy, by edge."""
        return {
            edge: {**board.snapshot(), "kinds": board.kinds()}
            for edge, board in self._boards.items()
        }

    def change(self, wanted: Mapping[str, Any]) -> None:
        """`{"edge"?, "profile"?, "switches"?: {kind: bool}}`; without an edge, all. Raises ProfileError."""
        unknown = sorted(set(wanted) - {"edge", "profile", "switches"})
        if unknown:
            raise ProfileError(f"unknown field {unknown[0]!r}; expected edge, profile, switches")
        edges, edge = self._boards, wanted.get("edge")
        if edge is not None and edge not in edges:
            raise ProfileError(f"no edge {edge!r} here; expected one of {', '.join(sorted(edges))}")
        switches = wanted.get("switches", {})
        if not isinstance(switches, dict) or not all(
            isinstance(on, bool) for on in switches.values()
        ):
            raise ProfileError("switches: expected an object of kind: true or false")
        chosen = list(edges.values()) if edge is None else [edges[edge]]
        # all or nothing: refuse before the first edge has changed
        if "profile" in wanted:
            off_for(wanted["profile"])
        known = {kind for board in chosen for kind in board.kinds()}
        absent = sorted(set(switches) - known)
        if absent:
            raise ProfileError(
                f"no policy {absent[0]!r} here; expected one of {', '.join(sorted(known))}"
            )
        for board in chosen:
            if "profile" in wanted:
                board.use(wanted["profile"])
            for kind in set(switches) & set(board.kinds()):
                board.switch(kind, switches[kind])

    def _read(self) -> dict[str, dict[str, Any]]:
        if self._kept is None:
            return {}
        try:
            rows = json.loads(self._kept.read_bytes())
            return {edge: dict(row) for edge, row in rows.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            log.error("%s cannot be read and is not heeded: %s", self._kept, error)
            return {}
