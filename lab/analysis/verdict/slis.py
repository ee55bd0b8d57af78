"""The limits on service level indicators of an experiment: each value with its interval and its answer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lab.analysis.intervals import CONFIDENCE
from lab.analysis.latency import failures
from lab.analysis.verdict.answers import Answer
from lab.analysis.verdict.measures import NO_DATA, SliError, measured, span_s
from lab.analysis.windows import WINDOWS
from lab.archive import Run


@dataclass(frozen=True)
class SliResult:
    """`value` with its interval at `confidence`, compared with `limit`: a maximum, for goodput_per_s a minimum.

    more, more_s: about how many more requests, or seconds of this load, would decide the limit; None if
    it is decided, or if no number would. Without data `value` is None.
    """

    name: str
    route: str | None
    window: str
    measure: str
    value: float | None
    low: float | None
    high: float | None
    unit: str
    limit: float
    answer: Answer
    confidence: float
    requests: int
    more: int | None = None
    more_s: float | None = None
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def text(self) -> str:
        """The result as text, e.g. `orders are fast: 240 ms (230 to 262 ms), limit 500 ms`."""
        parts = [self._figure(self.value)] if self.value is not None else []
        if self.low is not None and self.high is not None:
            parts[-1] += f" ({self._figure(self.low)} to {self._figure(self.high)})"
        parts.append(f"limit {self._figure(self.limit)}")
        if self.note:
            parts.append(self.note)
        return f"{self.name}: {', '.join(parts)}{self._what_would_decide()}"

    def _what_would_decide(self) -> str:
        if self.answer != Answer.UNDECIDED:
            return ""
        if self.more is None:
            return "; how many more requests would decide it cannot be estimated"
        time = f" ({_about(self.more_s)} s of this load)" if self.more_s is not None else ""
        return f"; about {_about(self.more)} more requests{time} would decide it"

    def _figure(self, value: float) -> str:
        if self.measure == "error_ratio":
            return f"{100 * value:.3g}%"
        text = f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"
        return f"{text} {self.unit}".strip()


def _about(number: float) -> str:
    """The number with two digits, rounded up: 4,334 is about 4,400."""
    step = 10.0 ** max(math.floor(math.log10(max(number, 1.0))) - 1, 0)
    return f"{math.ceil(number / step) * step:,.0f}"


class Sli:
    """The limit of an SLI {name, route, window, measure, limit} with its data of a run.

    route: as in the requests table (`POST /api/orders`); by default all routes together.
    window: before, during, after or all; by default during. Raises SliError.
    """

    def __init__(self, sli: Mapping[str, Any], run: Run) -> None:
        self._measure = str(sli.get("measure", ""))
        self._window = str(sli.get("window", "during"))
        self._route = sli.get("route")
        default = f"{self._measure} of {self._route or 'all routes'} {self._window}"
        self._name = str(sli.get("name") or default)
        limit = sli.get("limit")
        if self._window not in WINDOWS:
            raise self._error(f"window {self._window!r}; expected one of {', '.join(WINDOWS)}")
        if isinstance(limit, bool) or not isinstance(limit, int | float):
            raise self._error(f"limit {limit!r}; expected a number")
        self._limit = float(limit)
        try:
            self._data = measured(run, self._measure, self._route, self._window)
        except SliError as error:
            raise self._error(str(error)) from None
        self._requests = len(failures(run, self._route, self._window))
        self._span_s = span_s(run, self._window)

    def at(self, confidence: float) -> SliResult:
        """The result at a confidence between 0 and 1."""
        data, limit = self._data, self._limit
        found = data.interval(confidence) if self._requests else NO_DATA
        answer, note = (
            data.answer(found, limit, confidence)
            if self._requests
            else (Answer.UNDECIDED, found.note)
        )
        more, more_s = None, None
        if answer == Answer.UNDECIDED:
            needed = data.needed(found, limit, confidence)
            if needed is not None:
                # An interval that still reaches across its limit at this number is wider by dependence.
                more = max(needed - self._requests, math.ceil(self._requests / 10))
                more_s = more * self._span_s / self._requests if self._requests else None
        return SliResult(
            name=self._name,
            route=self._route,
            window=self._window,
            measure=self._measure,
            value=None if math.isnan(found.value) else found.value,
            low=found.low,
            high=found.high,
            unit=data.unit,
            limit=limit,
            answer=answer,
            confidence=confidence,
            requests=self._requests,
            more=more,
            more_s=more_s,
            note=note,
        )

    def _error(self, text: str) -> SliError:
        return SliError(f"SLI {self._name}: {text}")


def evaluate(sli: Mapping[str, Any], run: Run, confidence: float = CONFIDENCE) -> SliResult:
    """One SLI on its own. `limits.answer_together` answers all those of a run. Raises SliError."""
    return Sli(sli, run).at(confidence)
