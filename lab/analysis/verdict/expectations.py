"""What an experiment expects besides its limits: measures that do not change, and a breaker's timing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lab.analysis.breakers import transitions
from lab.analysis.verdict.answers import Answer
from lab.analysis.windows import during, load_span
from lab.archive import Run


@dataclass(frozen=True)
class Expectation:
    """An expectation with its answer. `result`: of `unchanged` only, equivalent, different or inconclusive.

    confidence: that of the interval; None for an observation, such as the timing of a breaker.
    """

    name: str
    edge: str
    value: float | None
    limit: float
    answer: Answer
    detail: str
    result: str | None = None
    confidence: float | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def text(self) -> str:
        return f"{self.name}: {self.detail}"


def breaker_timing(wanted: Mapping[str, Any], run: Run) -> list[Expectation]:
    """Whether the breaker of `edge` opened within `opens_within_s` of the fault, and closed after its end.

    Undecided if it did not, and was watched for less than the limit: the fault was shorter, or the load
    ended earlier.
    """
    edge = str(wanted.get("edge"))
    own = transitions.measures(run)
    own = own[own["edge"] == edge]
    (started, ended), (_, load_ended) = during(run), load_span(run)
    found = []
    for key, column, what, watched_s in (
        ("opens_within_s", "detection_s", "opens", ended - started),
        ("closes_within_s", "recovery_s", "closes again", load_ended - ended),
    ):
        if wanted.get(key) is None:
            continue
        limit, seconds = float(wanted[key]), own[column].dropna()
        value = float(seconds.min() if what == "opens" else seconds.max()) if len(seconds) else None
        if value is not None:
            answer, detail = (
                Answer.KEPT if value <= limit else Answer.BROKEN,
                f"after {value:.2f} s",
            )
        elif watched_s >= limit:
            answer, detail = Answer.BROKEN, "it did not"
        else:
            answer, detail = (
                Answer.UNDECIDED,
                f"not within the {watched_s:.1f} s that it was watched",
            )
        name = f"the breaker {edge} {what} within {limit:g} s"
        found.append(Expectation(name, edge, value, limit, answer, detail))
    return found
