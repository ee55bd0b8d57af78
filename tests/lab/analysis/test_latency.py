"""Latency from the intended start, by route and time; ground truths 1 and 2 of the methods."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pytest

from lab.analysis import latency
from lab.analysis.latency import shopper_requests
from lab.analysis.windows import during, fault_bands, run_span, window
from lab.archive import Run
from tests.lab.analysis.request_rows import request

Tiny = Callable[..., Run]


def test_latency_from_the_intended_start_shows_a_freeze_that_naive_latency_hides(
    tiny: Tiny,
) -> None:
    """100 requests/s for 100 s on one connection, 1 ms each; the server freezes for 1 s in each 10 s."""
    rows, free = [], 0.0
    for number in range(10_000):
        intended = number / 100
        sent = max(intended, free)
        begins = sent if sent % 10 >= 1.0 else math.floor(sent / 10) * 10 + 1.0
        free = begins + 0.001
        rows.append(request(number, intended, free, actual=sent))
    spectrum = latency.spectra(tiny(requests=rows), at=(0.99, 0.999))
    p99, p999 = spectrum["intended_ms"]
    assert p99 == pytest.approx(910, abs=15)
    assert p999 == pytest.approx(990, abs=10)
    assert spectrum["naive_ms"].iloc[0] == pytest.approx(1.0, abs=0.1)


def test_closed_loop_data_can_be_corrected() -> None:
    # The same freeze for one client that waits for each answer: 10 stalls of one second.
    naive = np.concatenate([np.full(9_000, 0.001), np.full(10, 1.001)])
    fixed = latency.corrected(naive, expected_interval_s=0.01)
    assert len(fixed) == 9_010 + 10 * 99
    assert np.quantile(naive, 0.99) == pytest.approx(0.001)
    assert np.quantile(fixed, 0.99) == pytest.approx(0.91, abs=0.02)


def test_mm1_at_80_percent_has_its_known_p99(tiny: Tiny) -> None:
    rng, at, free, rows = Random(3), 0.0, 0.0, []
    for number in range(60_000):
        at += rng.expovariate(80)
        free = max(at, free) + rng.expovariate(100)
        rows.append(request(number, at, free))
    found = latency.quantile_of(tiny(requests=rows), 0.99, "GET /x", "all")
    truth = 1000 * math.log(100) / 20
    assert found.low is not None
    assert found.high is not None
    assert found.low <= truth <= found.high
    assert found.value == pytest.approx(truth, rel=0.15)


def test_a_logical_request_lasts_from_its_intended_start_to_its_last_attempt(tiny: Tiny) -> None:
    same: dict[str, Any] = {"logical_id": "one", "route": "POST /api/orders"}
    rows = [
        request(0, 10.0, 12.0, **same, status=0, outcome="unknown"),
        request(1, 12.5, 12.6, **same, attempt_no=2, status=201),
    ]
    [found] = shopper_requests(tiny(requests=rows)).df().to_dict("records")
    assert found["response_s"] == pytest.approx(2.6)
    assert (found["attempts"], found["status"], found["outcome"]) == (2, 201, "ok")


def test_a_dropped_arrival_is_an_error_without_a_latency(tiny: Tiny) -> None:
    rows = [request(n, n, n + 0.1) for n in range(3)]
    rows.append(request(3, 3.0, None, dropped=True, outcome="fail", status=0))
    run = tiny(requests=[row | {"actual_start_s": None} if row["dropped"] else row for row in rows])
    table = latency.by_route(run)
    assert table.loc[0, "requests"] == 4
    assert table.loc[0, "error_ratio"] == 0.25
    assert table.loc[0, "p50_ms"] == pytest.approx(100)
    assert len(latency.response_times(run)) == 3


def test_routes_and_windows_are_separate(clean: Run) -> None:
    before = latency.by_route(clean, "before").set_index("route")["p95_ms"].to_dict()
    inside = latency.by_route(clean, "during").set_index("route")["p95_ms"].to_dict()
    orders, browsing = "POST /api/orders", "GET /api/products/{id}"
    assert before[orders] < 100
    assert inside[orders] > 2400
    assert inside[browsing] < 50
    start, end = window(clean, "during")
    assert end - start == pytest.approx(15.0)


def test_latency_over_time_rises_only_while_the_fault_lasts(clean: Run) -> None:
    table = latency.over_time(clean, "POST /api/orders")
    [band] = fault_bands(clean)
    slow = table[table["p95_ms"] > 1000]["start_s"]
    assert slow.min() >= math.floor(band.start_s) - 1
    assert slow.max() <= band.end_s
    assert table["requests"].sum() == len(clean.requests.filter("route = 'POST /api/orders'"))


def test_send_lag_is_measured(tiny: Tiny) -> None:
    rows = [request(n, float(n), n + 1.0, actual=n + 0.02) for n in range(100)]
    lag = latency.send_lag(tiny(requests=rows))
    assert lag["p50"] == pytest.approx(20.0)
    assert lag["max"] == pytest.approx(20.0)
    assert latency.send_lag(tiny(requests=[])) == {}


def test_windows_come_from_the_load_if_the_run_has_no_phases(tiny: Tiny) -> None:
    rows = [request(n, 100.0 + n, 100.5 + n) for n in range(10)]
    fault = {"fault_id": "f", "kind": "k", "target": "t", "effective_s": 103.0, "removed_s": 106.0}
    run = tiny(requests=rows, faults=[fault])
    assert window(run, "before") == (100.0, 103.0)
    assert window(run, "during") == (103.0, 106.0)
    assert window(run, "after") == (106.0, 109.5)
    assert window(run, "all") == (100.0, 109.5)
    with pytest.raises(ValueError, match="use one of before, during, after, all"):
        window(run, "sometimes")


def test_a_run_without_faults_and_phases_has_one_window(tiny: Tiny) -> None:
    run = tiny(requests=[request(0, 5.0, 6.0)])
    assert fault_bands(run) == []
    assert during(run) == (5.0, 6.0)
    with pytest.raises(ValueError, match="has no time"):
        run_span(tiny(requests=[]))
