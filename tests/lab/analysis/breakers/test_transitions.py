"""State bands, delays and the comparison with closed forms, from breaker events."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from lab.analysis.breakers import transitions
from lab.analysis.breakers.closed_forms import Settings
from lab.archive import Run
from tests.lab.analysis.simulation import FAULT as FAULT_S
from tests.lab.analysis.simulation import START_S

INFO = {"started_s": 0.0, "ended_s": 100.0}
FAULT = {"fault_id": "f", "kind": "latency", "target": "bank-1", "effective_s": 20.0}


def event(time_s: float, kind: str, state: str, previous: str = "", **more: Any) -> dict[str, Any]:
    head = {"time_s": time_s, "service": "payments", "instance": "payments-1", "edge": "p->b"}
    return head | {"policy": "breaker", "kind": kind, "state": state, "previous": previous} | more


STORY = [
    event(10.0, "evaluation", "closed", n=10, failures=0),
    event(22.0, "transition", "open", "closed", n=10, failures=5, reason="failure_rate"),
    event(24.0, "rejection", "open"),
    event(27.0, "transition", "half_open", "open"),
    event(27.5, "transition", "open", "half_open", n=3, failures=3),
    event(32.5, "transition", "half_open", "open"),
    event(33.0, "transition", "closed", "half_open"),
]


def test_the_bands_cover_the_run_without_gaps(tiny: Callable[..., Run]) -> None:
    run = tiny(info=INFO, breakers=STORY, faults=[FAULT | {"removed_s": 30.0}])
    bands = transitions.state_bands(run)
    assert bands["state"].tolist() == [
        *("closed", "open", "half_open", "open", "half_open", "closed")
    ]
    assert bands["start_s"].tolist() == [0.0, 22.0, 27.0, 27.5, 32.5, 33.0]
    assert bands["end_s"].tolist() == [22.0, 27.0, 27.5, 32.5, 33.0, 100.0]


def test_delays_are_measured_from_the_effective_fault(tiny: Callable[..., Run]) -> None:
    run = tiny(info=INFO, breakers=STORY, faults=[FAULT | {"commanded_s": 15.0, "removed_s": 30.0}])
    [row] = transitions.measures(run).to_dict("records")
    assert (row["opened"], row["flaps"], row["false_opens"], row["rejections"]) == (2, 1, 0, 1)
    assert row["detection_s"] == 2.0
    assert row["recovery_s"] == 3.0
    assert row["open_s"] == 10.0


def test_a_breaker_that_never_opens_or_never_closes_has_no_delay(tiny: Callable[..., Run]) -> None:
    faults = [FAULT | {"removed_s": 30.0}]
    quiet = transitions.measures(tiny(info=INFO, breakers=STORY[:1], faults=faults)).iloc[0]
    assert math.isnan(quiet["detection_s"])
    assert math.isnan(quiet["recovery_s"])
    stuck = transitions.measures(tiny(info=INFO, breakers=STORY[:2], faults=faults)).iloc[0]
    assert stuck["detection_s"] == 2.0
    assert math.isnan(stuck["recovery_s"])


def test_opening_without_a_fault_is_a_false_open(tiny: Callable[..., Run]) -> None:
    row = transitions.measures(tiny(info=INFO, breakers=STORY)).iloc[0]
    assert row["false_opens"] == 1
    assert math.isnan(row["detection_s"])


def test_settings_are_inferred_from_the_events_if_run_json_lacks_them(
    tiny: Callable[..., Run],
) -> None:
    settings, source = transitions.settings_of(tiny(info=INFO, breakers=STORY), "p->b")
    assert source == "inferred from its events"
    assert settings.failure_rate_threshold == 0.5
    assert settings.wait_open_s == pytest.approx(5.0)


def test_measured_and_predicted_agree_on_the_simulated_run(clean: Run) -> None:
    settings, source = transitions.settings_of(clean, "payments->bank")
    assert (settings, source) == (Settings(20, 0.5, 10, 3.0, 3), "run.json")
    table = transitions.predicted_and_measured(clean, "payments->bank").set_index("quantity")
    assert table.loc["fault effective to open", "measured"] == pytest.approx(
        table.loc["fault effective to open", "predicted"], abs=1.0
    )
    assert table.loc["share of the fault spent open", "measured"] == pytest.approx(
        table.loc["share of the fault spent open", "predicted"], abs=0.15
    )


def test_calls_that_end_after_the_breaker_opened_were_sent(clean: Run) -> None:
    sent, rejected = transitions.sent_and_rejected(clean, "payments->bank")
    inside = [int((START_S + each) * 1e9) for each in FAULT_S]
    [[came]] = clean.sql(
        "SELECT count(*) FROM spans WHERE kind = 'server' AND service = 'bank' AND start_ns BETWEEN ? AND ?",
        inside,
    ).fetchall()
    [[evaluated]] = clean.sql(
        "SELECT count(*) FROM breakers WHERE kind = 'evaluation' AND time_s BETWEEN ? AND ?",
        [START_S + each for each in FAULT_S],
    ).fetchall()
    assert sent == came > evaluated > 0
    assert rejected > 0


def test_without_breaker_events_the_tables_are_empty(tiny: Callable[..., Run]) -> None:
    run = tiny(info=INFO, breakers=[])
    assert transitions.state_bands(run).empty
    assert transitions.measures(run).empty
    assert transitions.predicted_and_measured(run, "p->b").empty
