"""The states of the circuit breakers over time, their reaction times, and a comparison with closed forms."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from lab.analysis.breakers import closed_forms as theory
from lab.analysis.breakers.closed_forms import Settings
from lab.analysis.windows import during, fault_bands, run_span
from lab.archive import Run

BEFORE_S = 10.0  # the usual call rate is measured over this time before the fault
COMPARED = ["quantity", "predicted", "low", "high", "measured", "unit"]
BAND_COLUMNS = ["edge", "instance", "state", "start_s", "end_s"]


def transitions(run: Run) -> pd.DataFrame:
    """All state changes: time_s, edge, instance, previous, state, reason, n, failures, slow."""
    frame: pd.DataFrame = run.sql(
        "SELECT time_s, edge, instance, previous, state, reason, n, failures, slow FROM breakers"
        " WHERE policy = 'breaker' AND kind = 'transition' ORDER BY edge, instance, time_s"
    ).df()
    return frame


def state_bands(run: Run) -> pd.DataFrame:
    """The state of each breaker over time, without gaps from the run's start to its end.

    A breaker without a transition was closed the whole time. A restarted instance starts closed.
    """
    start_s, end_s = run_span(run)
    known = run.sql(
        "SELECT DISTINCT edge, instance FROM breakers WHERE policy = 'breaker' ORDER BY ALL"
    ).fetchall()
    changes = transitions(run)
    bands: list[tuple[Any, ...]] = []
    for edge, instance in known:
        own = changes[(changes["edge"] == edge) & (changes["instance"] == instance)]
        since, state = start_s, "closed"
        for change in own.itertuples():
            at = min(max(float(change.time_s), start_s), end_s)
            if at > since:
                bands.append((edge, instance, state, since, at))
            since, state = at, str(change.state)
        bands.append((edge, instance, state, since, end_s))
    return pd.DataFrame(bands, columns=BAND_COLUMNS)


def measures(run: Run) -> pd.DataFrame:
    """One row for each breaker (edge and instance):

    opened, flaps (openings after the first), false_opens (from closed, outside every fault),
    open_s, half_open_s, rejections, calls (whose outcome it counted), detection_s (fault effective to
    first open; NaN if it never opened), recovery_s (fault removed to closed until the run's end; NaN
    if it was not open then or never closed).
    """
    bands = state_bands(run)
    counts = run.sql(
        "SELECT edge, instance, count(*) FILTER (kind = 'rejection') AS rejections,"
        " count(*) FILTER (kind = 'evaluation') AS calls"
        " FROM breakers WHERE policy = 'breaker' GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    faulted = bool(fault_bands(run))
    fault_start, fault_end = during(run)
    rows = []
    for edge, instance, rejections, calls in counts:
        own = bands[(bands["edge"] == edge) & (bands["instance"] == instance)]
        openings = own.loc[own["state"] == "open", "start_s"]
        in_fault = openings[(openings >= fault_start) & (openings <= fault_end)]
        closed_again = _closed_for_good(own, fault_end)
        rows.append(
            {
                "edge": edge,
                "instance": instance,
                "opened": len(openings),
                "flaps": max(0, len(openings) - 1),
                "false_opens": _false_opens(own, fault_start, fault_end, faulted),
                "open_s": _seconds_in(own, "open"),
                "half_open_s": _seconds_in(own, "half_open"),
                "calls": calls,
                "rejections": rejections,
                "detection_s": _gap(in_fault.min() if faulted else math.nan, fault_start),
                "recovery_s": _gap(closed_again if faulted else math.nan, fault_end),
            }
        )
    return pd.DataFrame(rows, columns=list(rows[0]) if rows else MEASURES)


MEASURES = [
    *("edge", "instance", "opened", "flaps", "false_opens", "open_s", "half_open_s"),
    *("calls", "rejections", "detection_s", "recovery_s"),
]


def sent_and_rejected(run: Run, edge: str) -> tuple[int, int]:
    """(calls of an edge that were sent during the fault, calls that its breaker rejected then).

    Sent calls are counted by the caller's spans: the breaker does not evaluate a call that ends after it opened,
    although the dependency got it. If only some traces were kept, only their calls count.
    """
    caller, _, callee = edge.partition("->")
    start_s, end_s = during(run)
    sent: int = run.sql(
        "SELECT count(*) FROM spans WHERE kind = 'client' AND service = ? AND peer = ?"
        " AND start_ns BETWEEN ? AND ?",
        [caller, callee, int(start_s * 1e9), int(end_s * 1e9)],
    ).fetchall()[0][0]
    rejected: int = run.sql(
        "SELECT count(*) FROM breakers WHERE policy = 'breaker' AND kind = 'rejection' AND edge = ?"
        " AND time_s BETWEEN ? AND ?",
        [edge, start_s, end_s],
    ).fetchall()[0][0]
    return sent, rejected


def settings_of(run: Run, edge: str) -> tuple[Settings, str]:
    """The breaker's settings, and their source.

    The source is `run.json` (`breakers: {edge: {...}}`) or else the breaker's own events: the
    largest window, the failure rate at which it opened, the time it stayed open.
    """
    stored = run.info.get("breakers", {}).get(edge)
    if stored:
        known = {name: stored[name] for name in Settings.__dataclass_fields__ if name in stored}
        return Settings(**known), "run.json"
    return _inferred(run, edge), "inferred from its events"


def predicted_and_measured(run: Run, edge: str) -> pd.DataFrame:
    """Closed forms against this run, for one edge: quantity, predicted, low, high, measured, unit.

    `low` to `high` contains 95% of such runs (NaN: no closed form).

    Call rates and the error share are measured. The time to open uses the call rate before the
    fault. The other quantities use the rate during the fault, with rejected calls. The row is for
    the instance that opened first. Empty if the edge did not open in a fault.
    """
    own = measures(run)
    opened = own[(own["edge"] == edge) & own["detection_s"].notna()]
    if opened.empty:
        return pd.DataFrame(columns=COMPARED)
    seen = opened.sort_values("detection_s").iloc[0]
    settings, _ = settings_of(run, edge)
    fault_start, fault_end = during(run)
    first_open = fault_start + float(seen["detection_s"])
    calls = _calls(run, edge, str(seen["instance"]))
    before = calls[calls["time_s"].between(fault_start - BEFORE_S, fault_start)]
    failing = calls[calls["time_s"].between(fault_start, first_open) & (calls["failures"] > 0)]
    offered = calls[calls["time_s"].between(first_open, fault_end)]
    lasted = max(fault_end - first_open, 1e-9)
    rate = max(len(before) / BEFORE_S, 0.1)
    rate_in_fault = max(len(offered) / lasted, 0.1)
    # `failures` counts the window: it rises from 0 by one for each failed call until the breaker opens.
    rose = float(failing["failures"].max()) if len(failing) else 0.0
    p = min(1.0, max(rose / max(len(failing), 1), settings.failure_rate_threshold))
    call_s = float(failing["time_s"].min()) - fault_start if len(failing) else 0.0
    bands = state_bands(run)
    mine = bands[(bands["edge"] == edge) & (bands["instance"] == seen["instance"])]
    inside = mine.assign(
        start_s=mine["start_s"].clip(first_open, fault_end),
        end_s=mine["end_s"].clip(first_open, fault_end),
    )
    wait_s, trial_calls = settings.wait_open_s, settings.permitted_half_open
    rows = [
        (
            "fault effective to open",
            theory.detection_s(settings, rate, p, call_s),
            *theory.detection_interval_s(settings, rate, p, call_s),
            float(seen["detection_s"]),
            "s",
        ),
        (
            "share of the fault spent open",
            theory.open_fraction(settings, rate_in_fault, p),
            *(math.nan, math.nan),
            _seconds_in(inside, "open") / lasted,
            "",
        ),
        (
            "fault removed to closed",
            theory.recovery_s(wait_s, trial_calls, rate_in_fault),
            *theory.recovery_interval_s(wait_s, trial_calls, rate_in_fault),
            float(seen["recovery_s"]),
            "s",
        ),
    ]
    return pd.DataFrame(rows, columns=COMPARED)


def _calls(run: Run, edge: str, instance: str) -> pd.DataFrame:
    """time_s and the window's failures at each call to the breaker, admitted or rejected."""
    frame: pd.DataFrame = run.sql(
        "SELECT time_s, failures FROM breakers WHERE policy = 'breaker'"
        " AND kind IN ('evaluation', 'rejection') AND edge = ? AND instance = ? ORDER BY time_s",
        [edge, instance],
    ).df()
    return frame


def _inferred(run: Run, edge: str) -> Settings:
    default = Settings()
    window, tripped, minimum = run.sql(
        "SELECT max(n), min(failures / n) FILTER (kind = 'transition' AND reason = 'failure_rate'"
        " AND previous = 'closed'), min(n) FILTER (kind = 'transition' AND previous = 'closed')"
        " FROM breakers WHERE policy = 'breaker' AND edge = ?",
        [edge],
    ).fetchall()[0]
    bands = state_bands(run)
    # The run's end may cut the last open band: it is no measure of the wait.
    waits = bands[(bands["edge"] == edge) & (bands["state"] == "open")].iloc[:-1]
    wait = float((waits["end_s"] - waits["start_s"]).min()) if len(waits) else default.wait_open_s
    return Settings(
        window_size=int(window or default.window_size),
        failure_rate_threshold=float(tripped or default.failure_rate_threshold),
        minimum_calls=min(int(minimum or default.minimum_calls), default.minimum_calls),
        wait_open_s=wait,
        permitted_half_open=default.permitted_half_open,
    )


def _closed_for_good(own: pd.DataFrame, fault_end: float) -> float:
    """When the breaker closed until the run's end; NaN if it was closed at the fault's end."""
    if own.empty or own["state"].iloc[-1] != "closed":
        return math.nan
    last = own.iloc[-1]
    return float(last["start_s"]) if last["start_s"] > fault_end else math.nan


def _false_opens(own: pd.DataFrame, start_s: float, end_s: float, faulted: bool) -> int:
    """Openings from closed outside the fault. A reopening after trial calls does not count."""
    count = 0
    previous = "closed"
    for state, since in zip(own["state"], own["start_s"], strict=True):
        outside = not faulted or since < start_s or since > end_s
        count += state == "open" and previous == "closed" and outside
        previous = state
    return count


def _seconds_in(own: pd.DataFrame, state: str) -> float:
    of = own[own["state"] == state]
    return float((of["end_s"] - of["start_s"]).sum())


def _gap(later_s: float, earlier_s: float) -> float:
    return math.nan if math.isnan(later_s) else float(later_s) - earlier_s
