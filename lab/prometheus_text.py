"""Prometheus' text format, written by hand: the recorder's series come and go with its runs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Exposition:
    """Begin a `family`, then give its samples; `text` is the whole answer."""

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
        """`counts` by bucket, not cumulative, the last above every bound; `total` is the sum."""
        named = [*(f"{bound:g}" for bound in bounds), "+Inf"]
        for bound, count in zip(named, accumulate(counts), strict=True):
            self._line("_bucket", count, {**labels, "le": bound})
        self._line("_sum", total, labels)
        self._line("_count", sum(counts), labels)

    def text(self) -> str:
        return "\n".join(self._lines) + "\n"

    def _line(self, suffix: str, value: float, labels: dict[str, str]) -> None:
        pairs = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
        self._lines.append(f"{self._name}{suffix}{{{pairs}}} {value!r}")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
