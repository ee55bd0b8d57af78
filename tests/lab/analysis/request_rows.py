"""Rows of a run's table of requests, made by hand."""

from typing import Any


def request(
    number: int, intended: float, end: float | None, *, actual: float | None = None, **more: Any
) -> dict[str, Any]:
    """The row of one attempt. It was sent when it was due, unless `actual` is given."""
    row = {
        **{"seq": number, "route": "GET /x", "method": "GET", "logical_id": str(number)},
        **{"attempt_no": 1, "intended_start_s": intended, "end_s": end, "status": 200},
        **{"actual_start_s": intended if actual is None else actual},
        **{"outcome": "ok", "dropped": False},
    }
    return row | more
