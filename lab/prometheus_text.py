"""Writes and reads Prometheus' text format.

The lab has no registry of metrics as prometheus_client has: its series appear and disappear with a run's
faults, proxies and routes.
https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# name{labels} value [timestamp]; a label's value may contain any character, also a brace.
_SAMPLE = re.compile(r'([A-Za-z_:][\w:]*(?:\{(?:[^"}]|"(?:[^"\\]|\\.)*")*\})?)\s+(\S+)')
_LABEL = re.compile(r'([A-Za-z_]\w*)\s*=\s*"((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")


class Exposition:
    """Start a `family`, then add its samples; `text` returns the whole page."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._name = ""

    def family(self, name: str, type_: str, help_: str) -> None:
        self._name = name
        self._lines += [f"# HELP {name} {help_}", f"# TYPE {name} {type_}"]

    def sample(self, value: float, **labels: str) -> None:
        self._line("", value, labels)

    def histogram(
        self, bounds: Sequence[float], counts: Sequence[int], total: float, **labels: str
    ) -> None:
        """`counts` are per bucket, not cumulative, the last one above every bound; `total` is the sum."""
        limits = [*(f"{bound:g}" for bound in bounds), "+Inf"]
        for limit, count in zip(limits, accumulate(counts), strict=True):
            self._line("_bucket", count, {**labels, "le": limit})
        self._line("_sum", total, labels)
        self._line("_count", sum(counts), labels)

    def text(self) -> str:
        return "\n".join(self._lines) + "\n"

    def _line(self, suffix: str, value: float, labels: dict[str, str]) -> None:
        pairs = ",".join(f'{name}="{_escape(text)}"' for name, text in labels.items())
        self._lines.append(f"{self._name}{suffix}{{{pairs}}} {value!r}")


class Sample(NamedTuple):
    """One sample of a page."""

    name: str
    labels: dict[str, str]
    value: float


def samples(page: str) -> Iterator[Sample]:
    """Reads all samples of a page; skips comments and malformed lines."""
    for line in page.splitlines():
        if (parts := split_sample(line)) is not None:
            with contextlib.suppress(ValueError):
                yield Sample(*split_series(parts[0]), float(parts[1]))


def total(page: str, name: str, **labels: str) -> float | None:
    """The sum of the samples of `name` that carry `labels`; None if there are none."""
    values = [
        each.value
        for each in samples(page)
        if each.name == name and labels.items() <= each.labels.items()
    ]
    return sum(values) if values else None


def split_sample(line: str) -> tuple[str, str] | None:
    """Splits a line into series (name and labels) and value; None if it is not a sample."""
    found = _SAMPLE.match(line)
    return (found[1], found[2]) if found else None


def split_series(series: str) -> tuple[str, dict[str, str]]:
    """Splits a series into name and labels."""
    name, _, labels = series.partition("{")
    return name, {label: _unescape(text) for label, text in _LABEL.findall(labels)}


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    return _ESCAPED.sub(lambda found: "\n" if found[1] == "n" else found[1], text)
