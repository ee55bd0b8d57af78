"""The names of percentiles: `p95_ms` is the time within which 95% of requests are answered."""

from __future__ import annotations

import re

PATTERN = r"p(\d{2}|9\d{2,3})_ms"  # the digits after "0.": p100 would be 10%
_NAME = re.compile(PATTERN)


def quantile(measure: str) -> float | None:
    """The quantile of a measure such as `p95_ms`; None for another measure."""
    found = _NAME.fullmatch(measure)
    return int(found[1]) / 10 ** len(found[1]) if found else None
