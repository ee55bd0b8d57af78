"""A Prometheus histogram with exemplars, for one thread: a tenth of the client library's cost."""

import time
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

# From 1 ms (an answer from memory) to 10 s (the longest wait of a caller). Each SLO of topology.toml is a bound.
BUCKETS_S = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0),
)


class Series:
    """The counts of one set of label values. Call `observe` in the event loop's thread only: there is no lock."""

    __slots__ = ("bounds", "counts", "exemplars", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.exemplars: list[tuple[int, float, float] | None] = [None] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float, trace_id: int = 0) -> None:
        """Count `value`. With a trace id it becomes the exemplar of its bucket."""
        place = bisect_left(self.bounds, value)  # a bound belongs to its own bucket
        self.counts[place] += 1
        self.sum += value
        if trace_id:
            self.exemplars[place] = (trace_id, value, time.time())


class Histogram(Collector):
    """A metric with its series. `buckets` are ascending upper bounds in seconds; +Inf is added."""

    def __init__(
        self,
        name: str,
        help_text: str,
        labels: tuple[str, ...] = (),
        buckets: tuple[float, ...] = BUCKETS_S,
    ) -> None:
        self._name = name
        self._help_text = help_text
        self._labels = labels
        self._bounds = buckets
        self._les = [*map(floatToGoString, buckets), "+Inf"]
        self._series: dict[tuple[str, ...], Series] = {}
        self._starts: dict[tuple[str, ...], list[str]] = {}
        if not labels:
            self._series[()] = Series(buckets)

    def labels(self, *values: str) -> Series:
        """The series with these label values, in the order of the labels. Raises ValueError."""
        series = self._series.get(values)
        if series is None:
            if len(values) != len(self._labels):
                raise ValueError(f"{self._name} has the labels {self._labels}, got {values}")
            series = self._series[values] = Series(self._bounds)
        return series

    def observe(self, value: float) -> None:
        """Count `value` in a histogram without labels."""
        self._series[()].observe(value)

    def text(self, *, exemplars: bool = False) -> str:
        """All series in Prometheus' text format; with `exemplars` in OpenMetrics' format.

        The constant part of each line is formatted once.
        """
        lines = [f"# HELP {self._name} {self._help_text}", f"# TYPE {self._name} histogram"]
        for values, series in self._series.items():
            starts = self._starts.get(values) or self._line_starts(values)
            buckets = list(
                map("%s%d.0".__mod__, zip(starts, accumulate(series.counts), strict=False))
            )
            if exemplars:
                for place, seen in enumerate(series.exemplars):
                    if seen is not None:
                        trace_id, value, at_s = seen
                        buckets[place] += f' # {{trace_id="{trace_id:032x}"}} {value!r} {at_s}'
            lines += buckets
            *_, sums, counts = starts
            lines += (f"{sums}{series.sum!r}", f"{counts}{sum(series.counts)}.0")
        return "\n".join(lines) + "\n"

    def _line_starts(self, values: tuple[str, ...]) -> list[str]:
        """The constant start of each line: of the buckets, the sum and the count."""
        labels = dict(zip(self._labels, values, strict=True))
        starts = [f"{self._name}_bucket{_labels({**labels, 'le': le})} " for le in self._les]
        starts += [f"{self._name}_{what}{_labels(labels)} " for what in ("sum", "count")]
        self._starts[values] = starts
        return starts

    def collect(self) -> Iterable[Metric]:
        metric = Metric(self._name, self._help_text, "histogram")
        for values, series in self._series.items():
            labels = dict(zip(self._labels, values, strict=True))
            total = 0
            for le, count, seen in zip(self._les, series.counts, series.exemplars, strict=True):
                total += count
                exemplar = seen and Exemplar({"trace_id": f"{seen[0]:032x}"}, seen[1], seen[2])
                metric.add_sample(
                    f"{self._name}_bucket", {**labels, "le": le}, total, exemplar=exemplar or None
                )
            metric.add_sample(f"{self._name}_sum", labels, series.sum)
            metric.add_sample(f"{self._name}_count", labels, total)
        return [metric]


def _labels(labels: dict[str, str]) -> str:
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in sorted(labels.items()))
    return f"{{{pairs}}}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
