"""One figure of a run by its name: an SLI, a probe or an invariant; and the table of bench/protections.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lab.analysis.activities import outside_tolerance
from lab.chaos.experiment.protection import INVARIANT

KEPT, BROKEN, UNDECIDED, MISSING = "kept", "broken", "undecided", "not measured"
MARKS = ("<!-- protections -->\n", "<!-- end of protections -->\n")


@dataclass(frozen=True)
class Figure:
    """What a run measured of the figure, and whether it kept its limit."""

    text: str
    answer: str
    limit: str = ""

    def __str__(self) -> str:
        return f"{self.text}: {self.answer}" if self.text else self.answer


def figure_of(name: str, verdict: Mapping[str, Any], journal: Mapping[str, Any]) -> Figure:
    """The figure `name` of a run, from its verdict.json and its journal."""
    if number := INVARIANT.fullmatch(name):
        return _invariant(int(number[1]), verdict)
    for sli in verdict["sli"]:
        if sli["name"] == name:
            return _sli(sli)
    return _probe(name, journal)


def _invariant(number: int, verdict: Mapping[str, Any]) -> Figure:
    [found] = [each for each in verdict["invariants"] if each["id"] == number]
    answer = {"ok": KEPT, "violated": BROKEN}.get(found["status"], MISSING)
    count = found["violations"]
    text = f"{count} violation{'s' * (count != 1)}" if answer == BROKEN else ""
    return Figure(text, answer, found["name"])


def _sli(sli: Mapping[str, Any]) -> Figure:
    limit = _value(sli["limit"], sli["unit"])
    if sli["value"] is None:
        return Figure("", MISSING, limit)
    return Figure(_value(sli["value"], sli["unit"]), sli["answer"], limit)


def _probe(name: str, journal: Mapping[str, Any]) -> Figure:
    """All results of a probe from the start of the method on: the worst value, and how many failed."""
    states = journal.get("steady_states") or {}
    during, after = states.get("during") or [], states.get("after") or {}
    groups = [each.get("probes") or [] for each in (*during, after) if each]
    rows = [row for group in (*groups, journal.get("run") or []) for row in group]
    results = [row for row in rows if row["activity"]["name"] == name]
    if not results:
        return Figure("", MISSING)
    failed = sum(not _good(each) for each in results)
    limit = results[0]["activity"].get("tolerance", "")
    numbers = [each["output"] for each in results if isinstance(each.get("output"), float)]
    worst = f"at most {max(numbers):.2f}" if numbers else ""
    share = f"{failed} of {len(results)} failed" if failed else ""
    return Figure(", ".join(filter(None, (worst, share))), BROKEN if failed else KEPT, str(limit))


def _good(result: Mapping[str, Any]) -> bool:
    return result.get("status") == "succeeded" and not outside_tolerance(result)


def _value(value: float, unit: str) -> str:
    if unit == "ms":
        return f"{value:,.0f} ms"
    return f"{value:.3g}{unit}"


def markdown(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table for a page of docs/."""
    names = list(header)
    lines = [names, ["---"] * len(names), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def between_marks(page: str, text: str) -> str:
    """The page with `text` between its marks. Raises ValueError without the marks."""
    start, end = (page.index(mark) for mark in MARKS)
    return page[: start + len(MARKS[0])] + text + page[end:]
