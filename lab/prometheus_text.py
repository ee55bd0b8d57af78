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

# name{labels} value [timestamp], or {"any name", labels} value. A blank is needed only between name and value.
# A label's value may contain any character, also a brace.
_QUOTED = r'"((?:[^"\\]|\\.)*)"'
_NAME, _BRACES = r"[A-Za-z_:][A-Za-z0-9_:]*", r'\{(?:[^"}]|"(?:[^"\\]|\\.)*")*\}'
_SAMPLE = re.compile(rf"[ \t]*((?:{_NAME}[ \t]*)?{_BRACES}|{_NAME}(?=[ \t]))[ \t]*(\S+)")
_PART = re.compile(rf"(?:{_QUOTED}|([A-Za-z_]\w*))[ \t]*(?:=[ \t]*{_QUOTED})?")
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
    for line in page.split("\n"):  # a label may contain other line separators
        if (parts := split_sample(line)) is not None:
            name, labels = split_series(parts[0])
            with contextlib.suppress(ValueError):
                value = float(parts[1])
                if name:
                    yield Sample(name, labels, value)


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
    """Splits a series into name and labels; the name is "" if it has none."""
    name, _, inner = series.partition("{")
    name, labels = name.strip(), {}
    for part in _PART.finditer(inner):
        quoted, bare, value = part.groups()
        if value is not None:
            labels[bare or _unescape(quoted)] = _unescape(value)
        elif quoted and not name:
            name = _unescape(quoted)
    return name, labels


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    return _ESCAPED.sub(lambda found: "\n" if found[1] == "n" else found[1], text)
