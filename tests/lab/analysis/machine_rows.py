"""Rows of the archive's table `machine`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

Row = dict[str, Any]


def machine_rows(
    start_s: float, seconds: int, others: Callable[[int], float] = lambda second: 0.02
) -> list[Row]:
    """A sample each second; the lab takes a fifth of the CPU and others take `others(second)`."""
    return [
        {
            **{"time_s": start_s + second, "interval_s": 1.0, "late_s": 0.0, "clock_step_s": 0.0},
            **{"cpu_user": 0.15 + others(second), "cpu_system": 0.05, "cpu_iowait": 0.0},
            **{"cpu_irq": 0.01, "cpu_steal": 0.0, "cpu_idle": 0.79 - others(second)},
            **{"cpu_lab": 0.2, "busiest_other": "make", "runnable": 2, "waiting": 0.05},
            "memory_available_bytes": 2 * 2**30,
        }
        for second in range(1, seconds + 1)
    ]


def stated(rows: Iterable[Row]) -> Row:
    """What run.json says of them."""
    listed = list(rows)
    return {"samples": len(listed), "columns": list(listed[0]) if listed else []}
