"""Faults of whole processes and delays inside calls are confirmed by evidence, not by their command."""

from collections.abc import Callable
from typing import Any

import pytest

from lab.analysis.fault_evidence.judge import judge_faults
from lab.archive import Run

INFO = {"started_s": 0.0, "ended_s": 100.0}
PAUSE = {
    "fault_id": "f", "kind": "pause", "target": "bank-1", "point": "process", "commanded_s": 10.0,
    "effective_s": 10.1, "removed_s": 20.0, "ttl_s": 10.0, "hits": 1,
    "evidence": {"pid": 7, "signal": "SIGSTOP", "stopped_until_the_end": True},
}  # fmt: skip
OUTAGE = PAUSE | {
    "kind": "outage",
    "target": "postgres",
    "evidence": {"pid": 7, "signal": "SIGKILL", "exit": -9, "back_s": 11.5},
}
SLOW = {
    "fault_id": "f", "kind": "latency", "target": "bank-1", "point": "database", "hits": 9,
    "commanded_s": 10.0, "effective_s": 10.0, "removed_s": 20.0, "ttl_s": 10.0,
    "attributes": {"latency_ms": 50},
}  # fmt: skip


def span(start_s: float, seconds: float = 0.01) -> dict[str, Any]:
    row = {"trace_id": "t", "span_id": "s", "service": "bank", "instance": "bank-1"}
    row |= {"kind": "server", "status": "unset"}
    return row | {"start_ns": int(start_s * 1e9), "end_ns": int((start_s + seconds) * 1e9)}


@pytest.mark.parametrize(
    ("change", "spans", "status", "why"),
    [
        ({}, [9.0, 21.0], "confirmed", "pid 7 and its children were stopped for 9.9 s"),
        ({}, [9.0, 15.0], "mismatch", "1 spans started in it while it was stopped by the record"),
        ({"effective_s": None}, [9.0], "mismatch", "SIGSTOP was sent and had no effect"),
        ({"removed_s": 25.0}, [9.0], "mismatch", "it outlived its TTL of 10 s by 5.0 s"),
    ],
)
def test_a_pause_is_confirmed_if_no_span_started_in_it(
    tiny: Callable[..., Run], change: dict[str, Any], spans: list[float], status: str, why: str
) -> None:
    [judged] = judge_faults(
        tiny(info=INFO, faults=[PAUSE | change], spans=[span(at) for at in spans])
    )
    assert (judged.status, judged.why) == (status, why)


def test_a_pause_that_ended_early_is_a_mismatch(tiny: Callable[..., Run]) -> None:
    evidence = {"pid": 7, "signal": "SIGSTOP", "stopped_until_the_end": False}
    fault = PAUSE | {"target": "postgres", "evidence": evidence}
    [judged] = judge_faults(tiny(info=INFO, faults=[fault]))
    assert (judged.status, judged.why) == ("mismatch", "it was running again before the end")


def test_a_death_is_confirmed_by_the_exit_status(tiny: Callable[..., Run]) -> None:
    [judged] = judge_faults(tiny(info=INFO, faults=[OUTAGE]))
    assert (judged.status, judged.why) == (
        "confirmed",
        "pid 7 ended with -9, ready again after 11.5 s",
    )
    unseen = OUTAGE | {"evidence": {"pid": 7, "signal": "SIGKILL"}}
    [judged] = judge_faults(tiny(info=INFO, faults=[unseen]))
    assert judged.status == "inconclusive"


@pytest.mark.parametrize(
    ("kind", "seen", "status", "why"),
    [
        ("disconnect", {"networks": {"shop": []}, "off": True, "off_until_the_end": True},
         "confirmed", "off shop"),
        ("disconnect", {"networks": {"shop": []}, "off": False},
         "mismatch", "the engine still had it on a network"),
        ("disconnect", {"networks": {"shop": []}, "off": True, "off_until_the_end": False},
         "mismatch", "it was on a network again before the end"),
        ("disconnect", {"networks": {"shop": []}, "off": True, "left": "404 no such network"},
         "mismatch", "the engine did not remove it: 404 no such network"),
        ("cpu_limit", {"throttled_periods": 12},
         "confirmed", "the kernel throttled it in 12 periods"),
        ("cpu_limit", {"throttled_periods": 0},
         "inconclusive", "the kernel throttled it in 0 periods"),
        ("memory_limit", {"used_share": 0.4, "oom_kills": 2},
         "confirmed", "it used 40% of the limit at the end; the kernel killed it 2 times"),
        ("memory_limit", {"used_share": 0.97, "oom_kills": 0},
         "confirmed", "it used 97% of the limit at the end; the kernel killed it 0 times"),
        ("memory_limit", {"used_share": 0.4, "oom_kills": 0},
         "inconclusive", "it used 40% of the limit at the end; the kernel killed it 0 times"),
    ],
)  # fmt: skip
def test_a_fault_of_the_engine_is_confirmed_by_the_kernels_counters(
    tiny: Callable[..., Run], kind: str, seen: dict[str, Any], status: str, why: str
) -> None:
    fault = PAUSE | {"kind": kind, "evidence": {"pid": 7} | seen}
    [judged] = judge_faults(tiny(info=INFO, faults=[fault], spans=[span(12)]))
    assert (judged.status, judged.why) == (status, why)


@pytest.mark.parametrize(
    ("seconds", "status"), [(0.25, "confirmed"), (0.12, "inconclusive"), (0.1, "inconclusive")]
)
def test_slow_statements_are_confirmed_if_calls_take_one_delay_longer(
    tiny: Callable[..., Run], seconds: float, status: str
) -> None:
    spans = [span(2 + i / 2, 0.1) for i in range(10)] + [
        span(11 + i / 2, seconds) for i in range(10)
    ]
    [judged] = judge_faults(tiny(info=INFO, faults=[SLOW], spans=spans))
    assert judged.status == status, judged.why


def test_a_delay_outside_of_all_calls_is_confirmed_by_its_hits(tiny: Callable[..., Run]) -> None:
    [judged] = judge_faults(tiny(info=INFO, faults=[SLOW | {"point": "publish"}], spans=[span(12)]))
    assert (judged.status, judged.why) == ("confirmed", "9 hits counted by the injector")


def test_without_the_supervisors_evidence_only_scrapes_can_show_a_death(
    tiny: Callable[..., Run],
) -> None:
    up = [
        {"time_s": float(t), "service": "bank", "instance": "bank-1", "name": "up",
         "value": 0.0 if 11 <= t < 14 else 1.0}
        for t in range(30)
    ]  # fmt: skip
    unseen = PAUSE | {"evidence": {}}
    [killed] = judge_faults(tiny(info=INFO, faults=[unseen | {"kind": "kill"}], metrics=up))
    assert (killed.status, killed.evidence["back_s"]) == ("confirmed", pytest.approx(3.9))
    for kind in ("pause", "cpu_limit"):
        [judged] = judge_faults(tiny(info=INFO, faults=[unseen | {"kind": kind}], metrics=up))
        assert (judged.status, judged.why) == (
            "inconclusive",
            "the supervisor's evidence is missing",
        )


def test_the_mechanism_follows_from_the_point_and_the_kind(tiny: Callable[..., Run]) -> None:
    """A service's own fault at the point `process` is judged by calls, an edge's by the proxy."""
    own = {"kind": "burn_cpu", "hits": 3, "evidence": {"counted_by": "bank-1"}}
    [judged] = judge_faults(tiny(info=INFO, faults=[PAUSE | own], spans=[span(12)]))
    assert judged.why == "3 hits counted by the injector"
    edge = {"point": "edge", "kind": "noop", "evidence": {"connections": 2}}
    [judged] = judge_faults(tiny(info=INFO, faults=[PAUSE | edge]))
    assert judged.why == "it was on 2 connections, and did nothing"
