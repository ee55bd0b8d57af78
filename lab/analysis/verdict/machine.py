"""Checks whether the machine was free for the lab: no other load, no steal, no clock step, no gap."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from lab.analysis.machine import SUSTAINED_S, figures, judged_seconds, seconds, sustained, text
from lab.analysis.windows import load_span, window
from lab.archive import Run

NAME = "the machine was free for the lab"
# The share of all CPUs that others and steal may take in SUSTAINED_S seconds: below the 10.9% from which
# shoppers see more than chance, by bench/quiet_machine.py (docs/machine.md).
TAKEN_SHARE_MAX = 0.10
# A step of the clock moves the times of requests. The limit is that of late sends (validity.py).
CLOCK_STEP_S_MAX = 0.1
GAP_S_MAX = 3.0  # a longer gap hides a burst
ROUNDING = 0.01
# The kernel counts the CPU time of processes and of the machine in different ways; they differ by less.
BELOW_ZERO = -0.1
# What every system reports, and what only Linux does. run.json states which columns the sampler filled.
ALWAYS = ("interval_s", "late_s", "clock_step_s", "cpu_user", "cpu_system", "cpu_idle", "cpu_lab")
ON_LINUX = ("cpu_iowait", "cpu_irq", "cpu_steal", "runnable")


def check(run: Run) -> tuple[str, bool, str]:
    """The condition of validity: its name, whether it holds, and the figures."""
    if gaps := [*_gaps(run, seconds(run))]:
        return NAME, False, "; ".join(gaps)
    rows = judged_seconds(run)
    problems = [*_taken(run, rows), *_clock_steps(run, rows)]
    return NAME, not problems, "; ".join([*problems, text(figures(rows))])


def _gaps(run: Run, rows: pd.DataFrame) -> Iterator[str]:
    """What of the samples is missing or contradictory."""
    if rows.empty:
        yield "no sample of the machine was recorded"
        return
    stated = run.info.get("machine")
    count, columns = (
        (stated.get("samples"), stated.get("columns")) if isinstance(stated, dict) else (None, None)
    )
    if count != len(rows) or not isinstance(columns, list) or not columns:
        yield f"run.json: machine does not state the archive's {len(rows)} samples and their columns"
        return
    needed = (*ALWAYS, *(ON_LINUX if _on_linux(run) else ()), *map(str, columns))
    lacking = [name for name in dict.fromkeys(needed) if _incomplete(rows, name)]
    if lacking:
        yield f"samples of the machine have no {', '.join(lacking)}"
        return
    start_s, end_s = _phases(run)
    begin_s = rows["time_s"] - rows["interval_s"]
    if begin_s.iloc[0] > start_s + ROUNDING or rows["time_s"].iloc[-1] < end_s - ROUNDING:
        yield "the samples of the machine do not cover all phases of the run"
    # each sample begins where the one before ended
    hole_s = (rows["time_s"].diff() - rows["interval_s"] - rows["clock_step_s"]).abs()
    if (hole_s > ROUNDING).any():
        at = _second(run, rows, int(hole_s.argmax()))
        yield f"samples of the machine are missing before {at}"
    if (longest_s := rows["interval_s"].max()) > GAP_S_MAX:
        at = _second(run, rows, int(rows["interval_s"].argmax()))
        yield f"no sample of the machine for {longest_s:.1f} s until {at}: the sampler did not run"
    kinds = rows.filter(regex="^cpu_(?!lab)").fillna(0.0)
    off = (kinds.sum(axis=1) - 1.0).abs().max()
    if (
        off > ROUNDING
        or (kinds < 0.0).any(axis=None)
        or sustained(rows, "others").min() < BELOW_ZERO
    ):
        yield "the shares of the machine's CPU contradict each other"


def _taken(run: Run, rows: pd.DataFrame) -> Iterator[str]:
    taken = sustained(rows, "taken")
    if not (most := taken.max()) <= TAKEN_SHARE_MAX:
        last = int(np.nanargmax(taken))
        names = rows["busiest_other"].iloc[: last + 1].tail(int(SUSTAINED_S)).dropna()
        mostly = f", mostly {names.mode().iloc[0]}" if len(names) else ""
        begin_s = rows["time_s"].iloc[last] - load_span(run)[0] - SUSTAINED_S
        yield (
            f"others and steal took {100 * most:.0f}% of the CPU in seconds {begin_s:.0f} to"
            f" {begin_s + SUSTAINED_S:.0f}{mostly}; the limit is {100 * TAKEN_SHARE_MAX:.0f}%"
        )


def _clock_steps(run: Run, rows: pd.DataFrame) -> Iterator[str]:
    steps = rows["clock_step_s"]
    for at in np.flatnonzero(steps.abs() > CLOCK_STEP_S_MAX):
        yield f"the clock jumped by {steps.iloc[at]:+.2f} s at {_second(run, rows, int(at))}"


def _phases(run: Run) -> tuple[float, float]:
    """From the start of the first phase to the end of the last; without phases, the judged seconds."""
    spans = [run.phase(each["name"]) for each in run.info.get("phases") or []]
    known = [span for span in spans if span is not None]
    if not known:
        return window(run, "all")
    return min(start for start, _ in known), max(end for _, end in known)


def _second(run: Run, rows: pd.DataFrame, row: int) -> str:
    return f"second {rows['time_s'].iloc[row] - load_span(run)[0]:.0f}"


def _incomplete(rows: pd.DataFrame, name: str) -> bool:
    if name not in rows:
        return True
    empty = rows[name].isna()
    return bool(empty.all() if name == "busiest_other" else empty.any())


def _on_linux(run: Run) -> bool:
    return str((run.info.get("host") or {}).get("os", "")).startswith("Linux")
