"""What a guard measures: the load's own requests as they are answered, or a probe."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from lab.analysis.activities import reason_of, within
from lab.chaos.experiment.plan import ProbeLimit, RequestLimit
from lab.chaos.experiment.variables import Variables
from lab.load.percentiles import quantile
from lab.recorder.intake.tail import TailedFile

REQUESTS_MIN = 5  # a ratio or percentile of fewer requests is not judged
SILENCE_EXPECTED_MIN = 10.0  # with so many planned arrivals, no answer is not chance (e^-10)
PROBE_INTERVAL_S = 0.5


class Watch(Protocol):
    """Measures against one limit."""

    def look(self, now_s: float) -> str | None:
        """How the limit is passed, else None. May take as long as a request."""
        ...


class RequestRows:
    """The rows that requests.ndjson gets from now on; each watch reads at its own position."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TailedFile | None = None
        self._open(from_end=True)

    def new(self) -> Iterator[dict[str, Any]]:
        if self._file is None:
            self._open(from_end=False)
        for line in self._file.lines() if self._file else ():
            try:
                yield json.loads(line)
            except ValueError:  # a torn line: the next one is whole
                continue

    def _open(self, *, from_end: bool) -> None:
        try:
            self._file = TailedFile(self._path, from_end=from_end)
        except FileNotFoundError:
            return


class RequestWatch:
    """A measure of one route (all routes if it is empty) over the last `for_s` seconds.

    `expected_per_s`: the arrivals that the load plans. No answer at all while many are planned is a
    violation too.
    """

    def __init__(
        self, limit: RequestLimit, rows: RequestRows, expected_per_s: float, now_s: float
    ) -> None:
        self._limit = limit
        self._rows = rows
        self._expected = expected_per_s * limit.for_s
        self._since_s = now_s
        self._seen: list[tuple[float, bool, float]] = []  # answered at, failed, seconds

    def look(self, now_s: float) -> str | None:
        limit = self._limit
        for row in self._rows.new():
            if limit.route in ("", row["route"]):
                at_s = row["end_s"] or row["intended_start_s"]
                took_s = at_s - row["intended_start_s"]
                self._seen.append((at_s, row["outcome"] != "ok", took_s))
        since_s = now_s - limit.for_s
        self._seen = [each for each in self._seen if each[0] >= since_s]
        if now_s - self._since_s < limit.for_s:
            return None
        if not self._seen and self._expected >= SILENCE_EXPECTED_MIN:
            return f"no request was answered for {limit.for_s:g} s"
        if len(self._seen) < REQUESTS_MIN:
            return None
        value = self._value()
        if value <= limit.limit:
            return None
        return f"{limit.measure} {value:.4g} over {limit.for_s:g} s, the limit is {limit.limit:g}"

    def _value(self) -> float:
        if self._limit.measure == "error_ratio":
            return sum(failed for _, failed, _ in self._seen) / len(self._seen)
        q = quantile(self._limit.measure)
        assert q is not None, "the plan accepts no other measure"
        times = sorted(took_s for _, _, took_s in self._seen)
        return 1000 * times[min(len(times) - 1, int(q * len(times)))]


class ProbeWatch:
    """A Chaos Toolkit probe that has been outside its tolerance for `for_s` seconds."""

    def __init__(self, limit: ProbeLimit, variables: Variables) -> None:
        self._limit = limit
        self._variables = variables
        self._activity = {"name": limit.name, "provider": {"type": "python", **limit.provider}}
        self._started_s = 0.0
        self._bad_since_s: float | None = None

    def look(self, now_s: float) -> str | None:
        if now_s - self._started_s < PROBE_INTERVAL_S:
            return None
        self._started_s = now_s
        problem = self._problem()
        if problem is None:
            self._bad_since_s = None
            return None
        # bad since the start of the call, however long the answer took
        self._bad_since_s = now_s if self._bad_since_s is None else self._bad_since_s
        bad_s = time.time() - self._bad_since_s
        return f"{problem}, for {bad_s:.1f} s" if bad_s >= self._limit.for_s else None

    def _problem(self) -> str | None:
        from chaoslib import substitute
        from chaoslib.activity import run_activity

        variables = (self._variables.configuration, self._variables.secrets)
        try:
            value = run_activity(self._activity, *variables)
        except Exception as error:  # a probe that cannot measure counts as bad
            return reason_of([str(error)]) or type(error).__name__
        tolerance = substitute(self._limit.tolerance, *variables)
        good = within(tolerance, value, *variables)
        return None if good else f"{value!r} is not within {tolerance!r}"
