"""What `lab run` reads of an experiment beyond Chaos Toolkit: the extension named `breakwater`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

from lab.chaos.experiment.provider_calls import check_call
from lab.chaos.experiment.yaml_lines import Document

EXTENSION = "breakwater"
KEYS = (
    *("name", "claim", "load", "phases", "recovery_from", "slis", "invariants", "expects"),
    *("proxied", "guard"),
)
PHASES = ("warmup_s", "before_s", "method_s", "recovery_s", "after_s")
SLI_KEYS = ("name", "route", "window", "measure", "limit")
WINDOWS = ("before", "during", "after", "all")
MEASURE = re.compile(r"p\d{2,4}_ms|error_ratio|goodput_per_s")
INVARIANTS = range(1, 10)
GUARD_KEYS = ("name", "route", "measure", "limit", "for_s")
PROBE_GUARD_KEYS = ("name", "provider", "tolerance", "for_s")
BREAKER_KEYS = ("edge", "opens_within_s", "closes_within_s")


@dataclass(frozen=True)
class ExperimentPlan:
    """How the run around an experiment goes. `phases` are seconds; `method_s` and `recovery_s` are
    the most that the method is expected to take, the load is planned to cover them.
    """

    claim: str
    profile: str
    phases: dict[str, float]
    recovery_from: str | None
    slis: tuple[dict[str, Any], ...]
    invariants: tuple[int, ...]
    expects: dict[str, Any] = field(default_factory=dict)
    proxied: bool = False
    guard: tuple[dict[str, Any], ...] = ()

    @property
    def load_s(self) -> float:
        """Seconds of load that cover everything, hypothesis probes and a slow machine included."""
        return 1.5 * sum(self.phases.values()) + 30


def read_plan(document: Document) -> ExperimentPlan:
    """The plan in the experiment's extension. Raises MalformedFileError."""
    extensions = document.data.get("extensions") or []
    for index, extension in enumerate(extensions):
        if isinstance(extension, dict) and extension.get("name") == EXTENSION:
            return _Reader(document, ("extensions", index), extension).plan()
    raise document.error(
        f"has no extension `- name: {EXTENSION}`; `lab run` needs it for load, phases and SLIs"
        " (docs/experiments.md), `chaos run` runs the file without it",
        "extensions",
    )


class _Reader:
    def __init__(
        self, document: Document, where: tuple[str | int, ...], table: dict[str, Any]
    ) -> None:
        self._document, self._where, self._table = document, where, table

    def plan(self) -> ExperimentPlan:
        self._only(self._table, KEYS)
        claim = self._table.get("claim")
        self._check(isinstance(claim, str) and bool(claim), "expected a sentence", "claim")
        profile = self._table.get("load", "light")
        self._check(isinstance(profile, str), "expected a load profile's name", "load")
        return ExperimentPlan(
            claim=str(claim),
            profile=profile,
            phases=self._phases(),
            recovery_from=self._recovery_from(),
            slis=tuple(self._sli(index, row) for index, row in enumerate(self._rows("slis"))),
            invariants=self._invariants(),
            expects=self._expects(),
            proxied=self._proxied(),
            guard=tuple(self._guard(index, row) for index, row in enumerate(self._rows("guard"))),
        )

    def _proxied(self) -> bool:
        proxied = self._table.get("proxied", False)
        self._check(
            isinstance(proxied, bool), f"expected true or false, got {proxied!r}", "proxied"
        )
        return bool(proxied)

    def _guard(self, index: int, row: Any) -> dict[str, Any]:
        """A limit on the load's requests, or a probe with its tolerance (lab.run.guard.limits)."""
        where = ("guard", index)
        self._check(isinstance(row, dict), "expected a table with a name", *where)
        keys = PROBE_GUARD_KEYS if "provider" in row else GUARD_KEYS
        self._only(row, keys, *where)
        for key in set(keys) - {"route"}:
            self._check(key in row, f"lacks {key}", *where)
        self._number(row["for_s"], *where, "for_s")
        if "provider" in row:
            check_call(self._document, (*self._where, *where, "provider"), row["provider"])
            return dict(row)
        self._number(row["limit"], *where, "limit")
        measure = str(row["measure"])
        good = MEASURE.fullmatch(measure) is not None and not measure.startswith("goodput")
        expected = f"expected error_ratio or p95_ms (any percentile); got {measure}"
        self._check(good, expected, *where, "measure")
        return dict(row)

    def _phases(self) -> dict[str, float]:
        phases: Any = self._table.get("phases")
        self._check(isinstance(phases, dict), f"expected a table of {', '.join(PHASES)}", "phases")
        self._only(phases, PHASES, "phases")
        for name in PHASES:
            self._check(name in phases, f"lacks {name} (seconds)", "phases")
            self._number(phases[name], "phases", name)
        return {name: float(phases[name]) for name in PHASES}

    def _recovery_from(self) -> str | None:
        """The method's activity with which the recovery begins: it must be there."""
        name = self._table.get("recovery_from")
        method = self._document.data.get("method") or []
        names = [activity.get("name") for activity in method if isinstance(activity, dict)]
        if name is None:
            return None
        self._check(
            name in names,
            f"{name!r} is no activity of the method; expected one of {', '.join(map(repr, names))}",
            "recovery_from",
        )
        return str(name)

    def _sli(self, index: int, row: Any) -> dict[str, Any]:
        """As lab.analysis.verdict.slis measures it; `window` is `during` where it is not said."""
        where = ("slis", index)
        self._check(isinstance(row, dict), f"expected a table of {', '.join(SLI_KEYS)}", *where)
        self._only(row, SLI_KEYS, *where)
        for key in ("measure", "limit"):
            self._check(key in row, f"lacks {key}", *where)
        window, measure = row.get("window", "during"), str(row["measure"])
        choices = f"expected one of {', '.join(WINDOWS)}; got {window!r}"
        self._check(window in WINDOWS, choices, *where, "window")
        measures = f"expected p95_ms (any percentile), error_ratio or goodput_per_s; got {measure}"
        self._check(MEASURE.fullmatch(measure) is not None, measures, *where, "measure")
        self._number(row["limit"], *where, "limit")
        route = row.get("route", "")
        self._check(isinstance(route, str), "expected e.g. POST /api/orders", *where, "route")
        return dict(row)

    def _invariants(self) -> tuple[int, ...]:
        numbers = self._rows("invariants")
        for index, number in enumerate(numbers):
            # `number in range` would take True for 1
            whole = isinstance(number, int) and not isinstance(number, bool)
            self._check(
                whole and number in INVARIANTS,
                f"expected numbers 1 to 9 (docs/experiments.md), got {number!r}",
                "invariants",
                index,
            )
        return tuple(numbers)

    def _expects(self) -> dict[str, Any]:
        expects = self._table.get("expects", {})
        self._check(isinstance(expects, dict), "expected a table", "expects")
        self._only(expects, ("breaker", "unchanged"), "expects")
        self._unchanged(expects.get("unchanged", {}))
        breaker = expects.get("breaker")
        if breaker is not None:
            where = ("expects", "breaker")
            self._check(isinstance(breaker, dict), "expected {edge, opens_within_s}", *where)
            self._only(breaker, BREAKER_KEYS, *where)
            edge = breaker.get("edge")
            good = isinstance(edge, str) and edge.count("->") == 1
            self._check(good, 'expected "caller->callee"', *where, "edge")
            for key in BREAKER_KEYS[1:]:
                if key in breaker:
                    self._number(breaker[key], *where, key)
        return dict(expects)

    def _unchanged(self, wanted: Any) -> None:
        where = ("expects", "unchanged")
        self._check(isinstance(wanted, dict), "expected {route, measures}", *where)
        self._only(wanted, ("route", "measures"), *where)
        measures = wanted.get("measures", [])
        self._check(isinstance(measures, list), "expected a list", *where, "measures")
        for index, each in enumerate(measures):
            known = isinstance(each, str) and MEASURE.fullmatch(each) is not None
            complaint = (
                f"expected p95_ms (any percentile), error_ratio or goodput_per_s; got {each!r}"
            )
            self._check(known, complaint, *where, "measures", index)

    def _rows(self, key: str) -> list[Any]:
        rows = self._table.get(key, [])
        self._check(isinstance(rows, list), "expected a list", key)
        return list(rows)

    def _number(self, value: Any, *where: str | int) -> None:
        good = not isinstance(value, bool) and isinstance(value, int | float)
        good = good and math.isfinite(value) and value >= 0
        self._check(good, f"expected a number of 0 or more, got {value!r}", *where)

    def _only(self, table: dict[str, Any], keys: tuple[str, ...], *where: str | int) -> None:
        for key in table:
            self._check(key in keys, f"unknown; expected one of {', '.join(keys)}", *where, key)

    def _check(self, good: bool, complaint: str, *where: str | int) -> None:
        if not good:
            path = ".".join(str(step) for step in (EXTENSION, *where))
            raise self._document.error(f"{path}: {complaint}", *self._where, *where)
