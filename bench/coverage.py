"""How often the 95% intervals of latency quantiles and error ratios contain the truth; docs/intervals.md.

    python bench/coverage.py [--simulations 1500] [--seed 1] [--json] [--measure p95] [--values 300]

series     independent, AR(.5) and AR(.9) (each value is correlated with the one before it), and bursts: requests
           are ten times as slow, or fail, in bursts of 8 requests on average
coverage   share of the given intervals that contain the true value
answered   share of the series for which an interval is given; the cell counts as answered from 0.5
width      median width by the exact interval's; for independent values only
unseen     share of the series of which at most one of the ten windows contains a burst (for ratios: a failure).
           They do not show how often bursts come. Above 0.05 coverage is not required
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from lab.analysis.intervals import Interval, Values, quantile_interval, share_interval
from lab.analysis.intervals.binomial import clopper_pearson, quantile_ranks
from lab.analysis.intervals.dependence import WINDOWS

NORMAL = NormalDist()
QUANTILES = {"p50": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99}
RATIOS = {"errors 1%": 0.01, "errors 5%": 0.05, "errors 20%": 0.2}
LENGTHS = (30, 60, 75, 150, 300, 1000, 3000)
ANSWERED, UNSEEN, COVERAGE, WIDTH = 0.5, 0.05, 0.93, 1.3
# Times within and outside a burst: lognormal with this spread, ten times as slow in a burst.
SPREAD, SLOWER = 0.4, math.log(10)
FAILING_IN_BURST = 0.8


@dataclass(frozen=True)
class Series:
    """How values depend on each other: `ar` the correlation of neighbours, or bursts.

    `bursts` is the share of slow requests. For failures the error ratio sets it: 80% of the requests
    in a burst fail, none outside.
    """

    name: str
    ar: float = 0.0
    bursts: float = 0.0
    burst_length: float = 8.0

    def in_bursts(
        self, share: float, many: int, n: int, rng: np.random.Generator
    ) -> NDArray[np.bool_]:
        """Whether each request is in a burst: `many` stationary series of n. Lengths are geometric."""
        starts = share / (1.0 - share) / self.burst_length
        inside, chance = np.empty((n, many), dtype=bool), rng.random((n, many))
        now = rng.random(many) < share
        for i in range(n):
            inside[i] = now
            now = np.where(now, chance[i] >= 1.0 / self.burst_length, chance[i] < starts)
        return inside.T

    def normal(self, many: int, n: int, rng: np.random.Generator) -> Values:
        """Standard normal values with the correlation `ar` of neighbours."""
        values = rng.standard_normal((n, many))
        for i in range(1, n):
            values[i] = self.ar * values[i - 1] + math.sqrt(1.0 - self.ar**2) * values[i]
        return values.T

    def latencies(self, many: int, n: int, rng: np.random.Generator) -> tuple[Values, float]:
        """(latencies, share of series without a burst)."""
        if not self.bursts:
            return np.exp(self.normal(many, n, rng)), 0.0
        inside = self.in_bursts(self.bursts, many, n, rng)
        times = np.exp(SPREAD * rng.standard_normal((many, n)) + SLOWER * inside)
        return times, _unseen(inside)

    def quantile(self, q: float) -> float:
        """The true q-quantile of `latencies`."""
        if not self.bursts:
            return math.exp(NORMAL.inv_cdf(q))
        low, high = -5.0, 5.0
        for _ in range(60):
            x = (low + high) / 2
            calm, slow = NORMAL.cdf(x / SPREAD), NORMAL.cdf((x - SLOWER) / SPREAD)
            low, high = (x, high) if (1 - self.bursts) * calm + self.bursts * slow < q else (low, x)
        return math.exp(low)

    def failures(
        self, share: float, many: int, n: int, rng: np.random.Generator
    ) -> NDArray[np.bool_]:
        """Outcomes of which `share` fail."""
        if not self.bursts:
            return self.normal(many, n, rng) > NORMAL.inv_cdf(1.0 - share)
        inside = self.in_bursts(share / FAILING_IN_BURST, many, n, rng)
        return inside & (rng.random((many, n)) < FAILING_IN_BURST)


SERIES = (
    Series("independent"),
    Series("AR(.5)", ar=0.5),
    Series("AR(.9)", ar=0.9),
    Series("bursts 5%", bursts=0.05),
    Series("bursts 20%", bursts=0.2),
)

SERIES_OF_FAILURES = (*SERIES[:3], Series("bursts", bursts=1.0))


@dataclass(frozen=True)
class Cell:
    """One cell of the table; the module's docstring explains the numbers."""

    series: str
    n: int
    measure: str
    coverage: float | None
    answered: float
    width: float | None
    unseen: float

    @property
    def counts(self) -> bool:
        """Whether coverage is required: the cell is answered, and the data can show the bursts."""
        return self.answered >= ANSWERED and self.unseen <= UNSEEN

    @property
    def ok(self) -> bool:
        return not self.counts or (
            (self.coverage or 0.0) >= COVERAGE and (self.width or 1.0) <= WIDTH
        )

    def text(self) -> str:
        """Coverage (share answered; width), e.g. `0.97 (100%; 1.13)`; `-` if no series was answered.

        In italics: not answered. Struck through: unseen.
        """
        if self.coverage is None:
            return "-"
        width = f"; {self.width:.2f}" if self.width else ""
        text = f"{self.coverage:.2f} ({self.answered:.0%}{width})"
        return text if self.counts else f"*{text}*" if self.unseen <= UNSEEN else f"~~{text}~~"


def quantile_cell(series: Series, n: int, name: str, many: int, seed: int) -> Cell:
    """Simulate one quantile for `many` series of n values."""
    q, rng = QUANTILES[name], np.random.default_rng([seed, n])
    values, unseen = series.latencies(many, n, rng)
    found = [quantile_interval(row, q) for row in values]
    widths: list[float] = []
    if series.name == "independent" and (ranks := quantile_ranks(n, q)):
        for row, each in zip(np.sort(values, axis=1), found, strict=True):
            widths.append(_width(each, float(row[ranks[1] - 1] - row[ranks[0] - 1])))
    return _cell(series, n, name, found, series.quantile(q), widths, unseen)


def ratio_cell(series: Series, n: int, name: str, many: int, seed: int) -> Cell:
    """Simulate one error ratio for `many` series of n outcomes."""
    share, rng = RATIOS[name], np.random.default_rng([seed, n])
    outcomes = series.failures(share, many, n, rng)
    found = [share_interval(row) for row in outcomes]
    widths: list[float] = []
    if series.name == "independent":
        for row, each in zip(outcomes, found, strict=True):
            low, high = clopper_pearson(float(row.sum()), float(n))
            widths.append(_width(each, high - low))
    unseen = _unseen(outcomes) if series.ar or series.bursts else 0.0
    return _cell(series, n, name, found, share, widths, unseen)


def _unseen(inside: NDArray[np.bool_]) -> float:
    """The share of series of which at most one window contains a burst."""
    n = inside.shape[1]
    occupied = np.logical_or.reduceat(inside, np.arange(WINDOWS) * n // WINDOWS, axis=1)
    return float(np.mean(occupied.sum(axis=1) < 2))


def _width(found: Interval, exact: float) -> float:
    return math.nan if found.low is None or found.high is None else (found.high - found.low) / exact


def _cell(
    series: Series,
    n: int,
    name: str,
    found: list[Interval],
    truth: float,
    widths: list[float],
    unseen: float,
) -> Cell:
    ends = [
        (each.low, each.high) for each in found if each.low is not None and each.high is not None
    ]
    covered = sum(low <= truth <= high for low, high in ends)
    return Cell(
        series.name,
        n,
        name,
        covered / len(ends) if ends else None,
        len(ends) / len(found),
        float(np.nanmedian(widths)) if ends and widths else None,
        unseen,
    )


def table(
    many: int, seed: int, measures: list[str], lengths: tuple[int, ...]
) -> Iterator[list[Cell]]:
    """One row of cells for each kind of series and each n."""
    for measured in (QUANTILES, RATIOS):
        names = [name for name in measured if name in measures]
        cell = quantile_cell if measured is QUANTILES else ratio_cell
        kinds = SERIES if measured is QUANTILES else SERIES_OF_FAILURES
        for series in kinds if names else ():
            for n in lengths:
                yield [cell(series, n, name, many, seed) for name in names]


def main() -> None:
    """Print the table as Markdown, or as JSON with `--json`."""
    every = [*QUANTILES, *RATIOS]
    options = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    options.add_argument("--simulations", type=int, default=1500, help="series a cell")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--json", action="store_true", help="print JSON")
    options.add_argument("--measure", choices=every, nargs="+", default=every)
    options.add_argument("--values", type=int, nargs="+", default=LENGTHS, help="n of each series")
    given = options.parse_args()
    rows = table(given.simulations, given.seed, given.measure, tuple(given.values))
    if given.json:
        print(
            json.dumps([asdict(cell) | {"ok": cell.ok} for row in rows for cell in row], indent=1)
        )
        return
    heading: list[str] = []
    missed: list[Cell] = []
    for row in rows:
        names = [cell.measure for cell in row]
        if names != heading:
            heading = names
            print(f"\n| series | n | {' | '.join(names)} |\n|{'---|' * (len(names) + 2)}")
        print(
            f"| {row[0].series} | {row[0].n:,} | {' | '.join(cell.text() for cell in row)} |",
            flush=True,
        )
        missed += [cell for cell in row if not cell.ok]
    print(f"\n{len(missed)} cells miss the aim (coverage {COVERAGE}, width {WIDTH})")
    for cell in missed:
        print(f"- {cell.series}, n = {cell.n:,}, {cell.measure}: {cell.text()}")


if __name__ == "__main__":
    main()
