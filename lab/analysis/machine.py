"""The machine during a run: the shares of the lab and of others, run queue and clock steps by second."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lab.analysis.windows import window
from lab.archive import Run

SUSTAINED_S = 20.0  # the length of the windows of bench/quiet_machine.py


def seconds(run: Run) -> pd.DataFrame:
    """The table `machine` in the order of its rows, as floats, with `others` and `taken`.

    Shares are of all CPUs. others: user and system time outside the lab. It can be slightly below 0,
    because the kernel counts the two in different ways. taken: others and steal.
    """
    frame = run.frame("machine")
    numbers = [name for name in frame.columns if name != "busiest_other"]
    frame[numbers] = frame[numbers].astype(float)
    frame["others"] = frame["cpu_user"] + frame["cpu_system"] - frame["cpu_lab"]
    frame["taken"] = frame["others"] + frame["cpu_steal"].fillna(0.0)
    return frame


def judged_seconds(run: Run) -> pd.DataFrame:
    """The rows from the start of `before` to the end of `after`: those that the verdict rests on."""
    frame = seconds(run)
    if frame.empty:
        return frame
    start_s, end_s = window(run, "all")
    begin_s = frame["time_s"] - frame["interval_s"]
    inside = np.flatnonzero((frame["time_s"] > start_s) & (begin_s < end_s))
    return (
        frame.iloc[inside[0] : inside[-1] + 1].reset_index(drop=True) if len(inside) else frame[:0]
    )


def mean(frame: pd.DataFrame, column: str) -> float:
    """The mean of a share over the time of the rows."""
    return float(np.average(frame[column].fillna(0.0), weights=frame["interval_s"]))


def sustained(frame: pd.DataFrame, column: str) -> pd.Series[float]:
    """For each row the mean of a share over the SUSTAINED_S seconds that end with it; NaN where fewer exist.

    If all rows cover less than that, the last one has the mean of all.
    """
    time_s = np.concatenate([[0.0], frame["interval_s"].cumsum()])
    used_s = np.concatenate([[0.0], (frame["interval_s"] * frame[column].fillna(0.0)).cumsum()])
    first = np.searchsorted(time_s, time_s[1:] - SUSTAINED_S + 1e-6, side="right") - 1
    begin = first.clip(min=0)
    found = (used_s[1:] - used_s[begin]) / (time_s[1:] - time_s[begin])
    found[first < 0] = np.nan
    if len(found) and first[-1] < 0:
        found[-1] = used_s[-1] / time_s[-1]
    return pd.Series(found)


def figures(rows: pd.DataFrame) -> dict[str, float]:
    """Means and maxima of the shares over the rows, of which there must be one."""
    return {
        "lab": mean(rows, "cpu_lab"),
        "others": mean(rows, "others"),
        "others_most": float(sustained(rows, "others").max()),
        "steal": mean(rows, "cpu_steal"),
    }


def text(found: dict[str, float]) -> str:
    """The figures in one line."""
    share = {name: f"{100 * max(0.0, value):.0f}%" for name, value in found.items()}
    return (
        f"lab {share['lab']}, others {share['others']} (at most {share['others_most']} in"
        f" {SUSTAINED_S:.0f} s), steal {share['steal']}"
    )


def summary(run: Run) -> str:
    """The figures of the judged seconds in one line; empty if there is no sample."""
    rows = judged_seconds(run)
    return "" if rows.empty else text(figures(rows))
