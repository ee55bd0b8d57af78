"""Critical paths of traces with a known result, and the summaries of a run's traces."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from lab.analysis.tracing.critical_path import Span, clock_offsets, critical_path, trace_of
from lab.analysis.tracing.traces import Traces
from lab.archive import ArchiveError, Run

MS = 1_000_000


def span(
    id: str, start_ms: float, end_ms: float, parent: str = "", *, kind: str = "server", **more: Any
) -> Span:
    """A span of the service named by its id's first letter: `a`, `a.1` and `a.2` belong to service a."""
    service = id.split(".", maxsplit=1)[0]
    name, start, end = f"GET /{service}", round(start_ms * MS), round(end_ms * MS)
    return Span(id, parent, service, f"{service}-1", kind, name, start, end, **more)


def call(id: str, start_ms: float, end_ms: float, parent: str, peer: str, **more: Any) -> Span:
    return span(id, start_ms, end_ms, parent, kind="client", peer=peer, **more)


def path(*spans: Span) -> list[tuple[str, float, float]]:
    """(span, from, to) in ms since the root began. Adjacent pieces of one span are joined."""
    trace = trace_of(spans)
    assert trace is not None
    zero, found = trace.times(trace.root)[0], list[tuple[str, float, float]]()
    for piece in critical_path(trace):
        start, end = (piece.start_ns - zero) / MS, (piece.end_ns - zero) / MS
        if found and found[-1][0] == piece.span.id and found[-1][2] == start:
            start = found.pop()[1]
        found.append((piece.span.id, start, end))
    return found


def test_serial_calls_are_on_the_path_and_the_rest_is_the_callers_time() -> None:
    assert path(
        span("a", 0, 100),
        call("a.1", 10, 40, "a", "b"),
        span("b", 15, 35, "a.1"),
        call("a.2", 50, 90, "a", "c"),
        span("c", 50, 90, "a.2"),
    ) == [
        ("a", 0, 10),
        ("a.1", 10, 15),
        ("b", 15, 35),
        ("a.1", 35, 40),
        ("a", 40, 50),
        ("c", 50, 90),
        ("a", 90, 100),
    ]


def test_of_parallel_calls_only_the_one_that_finishes_last_counts() -> None:
    assert path(
        span("a", 0, 100),
        call("a.fast", 10, 40, "a", "b"),
        call("a.slow", 12, 80, "a", "c"),
        call("a.slower", 11, 90, "a", "d"),
    ) == [("a", 0, 11), ("a.slower", 11, 90), ("a", 90, 100)]


def test_of_overlapping_calls_the_path_takes_the_one_that_finished_before() -> None:
    # b (0-30) ends before d (40-100) begins, so it is on the path. c (20-60) overlaps d.
    assert path(
        span("a", 0, 100),
        call("a.b", 0, 30, "a", "b"),
        call("a.c", 20, 60, "a", "c"),
        call("a.d", 40, 100, "a", "d"),
    ) == [("a.b", 0, 30), ("a", 30, 40), ("a.d", 40, 100)]


def test_each_attempt_counts_and_the_backoff_is_the_callers_time() -> None:
    assert path(
        span("a", 0, 100),
        call("a.1", 0, 30, "a", "b", error=True),
        call("a.2", 50, 100, "a", "b"),
        span("b", 60, 95, "a.2"),
    ) == [("a.1", 0, 30), ("a", 30, 50), ("a.2", 50, 60), ("b", 60, 95), ("a.2", 95, 100)]


def test_a_call_counts_until_its_caller_gives_up() -> None:
    assert path(
        span("a", 0, 100), call("a.1", 10, 60, "a", "b", error=True), span("b", 20, 400, "a.1")
    ) == [("a", 0, 10), ("a.1", 10, 20), ("b", 20, 60), ("a", 60, 100)]


def test_work_after_the_response_does_not_count() -> None:
    assert path(
        span("a", 0, 50),
        span("a.saga", 20, 300, "a", kind="internal"),
        span("a.later", 200, 250, "a", kind="internal"),
    ) == [("a", 0, 20), ("a.saga", 20, 50)]


def test_events_do_not_count() -> None:
    assert path(
        span("a", 0, 50),
        span("a.publish", 10, 45, "a", kind="producer"),
        span("n", 20, 50, "a.publish", kind="consumer"),
    ) == [("a", 0, 50)]


def test_the_path_of_an_event_handler_contains_its_calls() -> None:
    """The children of a server span that a consumer called are on the path of that server span."""
    assert path(
        span("a", 0, 50),
        call("a.1", 5, 45, "a", "b"),
        span("b", 10, 40, "a.1"),
        span("b.publish", 12, 39, "b", kind="producer"),
    ) == [("a", 0, 5), ("a.1", 5, 10), ("b", 10, 40), ("a.1", 40, 45), ("a", 45, 50)]


def test_a_lost_hedge_counts_until_the_winning_call_starts() -> None:
    assert path(
        span("a", 0, 130),
        call("a.first", 5, 128, "a", "b", abandoned=True),
        span("b", 20, 400, "a.first"),
        call("a.second", 105, 125, "a", "b"),
    ) == [("a", 0, 5), ("a.first", 5, 20), ("b", 20, 105), ("a.second", 105, 125), ("a", 125, 130)]


def test_a_hedge_that_lost_to_the_first_call_does_not_count() -> None:
    assert path(
        span("a", 0, 140),
        call("a.first", 5, 130, "a", "b"),
        call("a.second", 105, 182, "a", "b", abandoned=True),
    ) == [("a", 0, 5), ("a.first", 5, 130), ("a", 130, 140)]


def test_a_call_cancelled_with_its_request_counts_to_the_end() -> None:
    assert path(span("a", 0, 60), call("a.1", 10, 60, "a", "b", abandoned=True)) == [
        ("a", 0, 10),
        ("a.1", 10, 60),
    ]


def test_a_span_without_a_parent_in_the_archive_is_lost() -> None:
    trace = trace_of([span("a", 0, 50), call("x.1", 10, 20, "gone", "y"), span("y", 12, 15, "x.1")])
    assert trace is not None
    assert [each.id for each in trace.lost] == ["x.1"]
    assert sum(piece.duration_ns for piece in critical_path(trace)) == 50 * MS


@pytest.mark.parametrize("skew_ms", [-5000.0, -20.0, 20.0, 5000.0])
def test_the_span_of_a_callee_with_another_clock_is_shifted_into_the_call(skew_ms: float) -> None:
    spans = [
        span("a", 0, 100),
        call("a.1", 10, 90, "a", "b"),
        span("b", 20 + skew_ms, 80 + skew_ms, "a.1"),
        call("b.1", 30 + skew_ms, 70 + skew_ms, "b", "c"),
        span("c", 40 + skew_ms, 60 + skew_ms, "b.1"),  # on the clock of b's machine
    ]
    pairs = [("a-1", "b-1", 10 * MS, 90 * MS, spans[2].start_ns, spans[2].end_ns)]
    trace = trace_of(spans, clock_offsets(pairs))
    assert trace is not None
    found = [
        (piece.span.id, piece.start_ns // MS, piece.end_ns // MS) for piece in critical_path(trace)
    ]
    assert ("b", 20, 30) in found
    assert ("c", 40, 60) in found


def test_a_late_start_is_a_queue_and_not_clock_skew() -> None:
    pairs = [("a-1", "b-1", 0, 100 * MS, 90 * MS, 99 * MS) for _ in range(9)]
    assert clock_offsets(pairs) == {}


def test_one_unusual_call_does_not_shift_a_clock() -> None:
    usual = [("a-1", "b-1", 0, 100 * MS, 10 * MS, 90 * MS)] * 9
    assert clock_offsets([*usual, ("a-1", "b-1", 0, 10 * MS, -50 * MS, -45 * MS)]) == {}


@pytest.mark.parametrize("seed", range(30))
def test_the_pieces_of_any_trace_sum_to_its_duration(seed: int) -> None:
    rng = random.Random(seed)
    spans = [span("s0", 0, rng.uniform(1, 100))]
    for number in range(1, rng.randint(2, 60)):
        parent = rng.choice(spans)
        start = rng.uniform(-20, 120)
        kind = rng.choice(["client", "server", "internal", "producer", "consumer"])
        spans.append(
            span(f"s{number}", start, start + rng.uniform(0, 80), parent.id, kind=kind,
                 abandoned=rng.random() < 0.2)
        )  # fmt: skip
    rng.shuffle(spans)
    trace = trace_of(spans)
    assert trace is not None
    pieces = critical_path(trace)
    start, end = trace.times(trace.root)
    assert sum(piece.duration_ns for piece in pieces) == end - start, f"seed {seed}"
    edges = [start, *(piece.end_ns for piece in pieces)]
    assert [piece.start_ns for piece in pieces] == edges[:-1], f"seed {seed}: a gap or an overlap"


def test_a_cycle_of_parents_ends_the_path() -> None:
    trace = trace_of([span("a", 0, 10), span("b", 1, 2, "c"), span("c", 1, 2, "b")])
    assert trace is not None
    assert len(critical_path(trace)) == 1


def test_a_very_deep_trace_is_analysed_to_its_end() -> None:
    spans = [span("s0", 0, 5000)]
    spans += [span(f"s{n}", n, 5000, f"s{n - 1}", kind="internal") for n in range(1, 3000)]
    assert len(path(*spans)) == 3000


def test_spans_without_a_server_span_are_no_request() -> None:
    assert trace_of([span("a.1", 0, 10, kind="consumer")]) is None


# -- of a run ---------------------------------------------------------------------------------

Tiny = Callable[..., Run]


def rows(trace_id: str, *spans: Span, at_s: float) -> list[dict[str, Any]]:
    """The rows of a trace that began at `at_s`."""
    return [
        {
            **{"trace_id": trace_id, "span_id": f"{trace_id}{each.id}", "service": each.service},
            "parent_span_id": f"{trace_id}{each.parent}",
            **{"instance": each.instance, "kind": each.kind, "name": each.name},
            "start_ns": each.start_ns + round(at_s * 1e9),
            "end_ns": each.end_ns + round(at_s * 1e9),
            **{"status": "error" if each.error else "unset", "peer": each.peer or None},
            "attributes": {"error.type": "CancelledError"} if each.abandoned else {},
        }
        for each in spans
    ]


def order(trace_id: str, at_s: float, bank_ms: float) -> list[dict[str, Any]]:
    """An order: 10 ms in the shop, 4 ms on the edge to the bank, `bank_ms` in the bank."""
    return rows(
        trace_id,
        span("shop", 0, 14 + bank_ms),
        call("shop.1", 5, 9 + bank_ms, "shop", "bank"),
        span("bank", 7, 7 + bank_ms, "shop.1"),
        at_s=at_s,
    )


def request_of(trace_id: str, at_s: float) -> dict[str, Any]:
    return {
        **{"seq": 1, "route": "GET /x", "request_id": trace_id, "status": 200, "outcome": "ok"},
        **{"intended_start_s": at_s, "actual_start_s": at_s, "end_s": at_s + 0.5},
    }


PHASES = [
    {"name": "before", "start_s": 0.0, "end_s": 100.0},
    {"name": "method", "start_s": 100.0, "end_s": 200.0},
]


@pytest.fixture
def slow_bank(tiny: Tiny) -> Run:
    """40 orders with 20 ms in the bank, then 40 with 120 ms, and one request without a trace."""
    spans = [row for n in range(40) for row in order(f"b{n}", 10.0 + n, 20.0)]
    spans += [row for n in range(40) for row in order(f"d{n}", 110.0 + n, 120.0)]
    requests = [request_of(f"b{n}", 10.0 + n) for n in range(40)]
    requests += [request_of(f"d{n}", 110.0 + n) for n in range(40)] + [
        request_of("untraced", 150.0)
    ]
    return tiny({"phases": PHASES, "ended_s": 200.0}, spans=spans, requests=requests)


def test_hops_sum_to_the_mean_duration(slow_bank: Run) -> None:
    hops = Traces(slow_bank).hops("before")
    assert hops["ms"].round(6).to_dict() == {"bank": 20.0, "shop": 10.0, "shop->bank": 4.0}
    assert hops["kind"].to_dict() == {"bank": "own", "shop": "own", "shop->bank": "call"}
    assert hops["share"].sum() == pytest.approx(1.0)


def test_the_hop_that_became_slow_is_found_and_the_change_sums_to_the_difference(
    slow_bank: Run,
) -> None:
    traces = Traces(slow_bank)
    change = traces.change()
    assert change.index[0] == "bank"
    assert change["added_ms"].round(6).to_dict() == {"bank": 100.0, "shop": 0.0, "shop->bank": 0.0}
    means = {over: traces.of(over)["duration_ms"].mean() for over in ("before", "during")}
    assert change["added_ms"].sum() == pytest.approx(means["during"] - means["before"])


def test_the_tail_names_the_slow_hop_and_sums_to_the_gap(tiny: Tiny) -> None:
    spans = [row for n in range(98) for row in order(f"t{n:02}", float(n), 20.0 + n / 100)]
    spans += [row for n in (98, 99) for row in order(f"t{n}", float(n), 520.0)]
    run = tiny({"started_s": 0.0, "ended_s": 200.0}, spans=spans)
    tail = Traces(run).tail(q=0.98)
    assert tail.index[0] == "bank"
    slow, usual = tail["slow_ms"].sum(), tail["median_ms"].sum()
    assert tail["added_ms"].sum() == pytest.approx(slow - usual)
    assert slow - usual == pytest.approx(500.0, abs=1.0)


def test_few_traces_have_no_tail(tiny: Tiny) -> None:
    run = tiny({"started_s": 0.0, "ended_s": 9.0}, spans=order("t", 1.0, 20.0))
    assert Traces(run).tail().empty


def test_without_traces_before_the_fault_there_is_no_change(tiny: Tiny) -> None:
    info = {"phases": PHASES, "started_s": 0.0, "ended_s": 200.0}
    assert Traces(tiny(info, spans=order("t", 150.0, 20.0))).change().empty


def test_completeness_counts_missing_traces(slow_bank: Run) -> None:
    found = Traces(slow_bank).completeness()
    assert found["requests"] == 81
    assert found["traced"] == pytest.approx(80 / 81)
    assert found["lost_spans"] == 0
    assert found["analysed"] == 1.0


def test_spans_with_a_lost_parent_are_counted(tiny: Tiny) -> None:
    spans = order("t", 1.0, 20.0)
    del spans[1]  # the call, which is the parent of the bank's span
    found = Traces(tiny({"started_s": 0.0, "ended_s": 9.0}, spans=spans)).completeness()
    assert found["lost_spans"] == 1


def test_a_sample_is_the_same_each_time_and_its_share_is_reported(slow_bank: Run) -> None:
    first, again = Traces(slow_bank, traces_max=20), Traces(slow_bank, traces_max=20)
    assert list(first.table["trace_id"]) == list(again.table["trace_id"])
    assert len(first.table) == 20
    assert first.completeness()["analysed"] == pytest.approx(20 / 80)


def test_the_slowest_traces_come_first_with_the_shoppers_waiting_time(slow_bank: Run) -> None:
    worst = Traces(slow_bank).slowest(3)
    assert list(worst["duration_ms"].round(6)) == [134.0] * 3
    assert set(worst["hop"]) == {"bank"}
    assert list(worst["shopper_ms"].round(6)) == [500.0] * 3


def test_a_run_without_spans_has_no_traces(tiny: Tiny) -> None:
    traces = Traces(tiny({"started_s": 0.0, "ended_s": 9.0}, requests=[request_of("x", 1.0)]))
    assert traces.table.empty
    assert traces.hops().empty
    assert traces.slowest().empty
    assert traces.over_time().empty
    assert traces.completeness()["traced"] == 0.0


def test_an_unknown_trace_id_is_an_error(slow_bank: Run) -> None:
    with pytest.raises(ArchiveError, match="no request with the trace id 'nope'"):
        Traces(slow_bank).trace("nope")


def test_the_json_of_a_span_may_be_text(tiny: Tiny) -> None:
    spans = order("t", 1.0, 20.0)
    spans[1]["attributes"] = json.dumps({"error.type": "CancelledError"})
    trace = Traces(tiny({"started_s": 0.0, "ended_s": 9.0}, spans=spans)).trace("t")
    assert [each.abandoned for _, each in trace.depth_first()] == [False, True, False]
