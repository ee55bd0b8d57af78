"""Faults of edges are confirmed by the caller's calls; what the proxy counts is no evidence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from chassis.fault_record import FaultRecord
from lab.analysis.fault_evidence.crossings import Crossing, Crossings
from lab.analysis.fault_evidence.edges import CONFIRMED_BY, effects_of
from lab.analysis.fault_evidence.judge import judge_faults
from lab.analysis.fault_evidence.windows import Windows
from lab.analysis.intervals import Values
from lab.archive import Run
from lab.fault_kinds.edges import KINDS
from tests.lab.analysis.fault_evidence.noise import counts, durations, outcomes

SEEDS = {False: 200, True: 60}  # of inert injectors, of working ones
BEFORE_S, DURING_S, SLOWER = 24, 15, 1.2
WINDOWS = Windows(((0.0, BEFORE_S),), (BEFORE_S, BEFORE_S + DURING_S))
TIMEOUT_S = 1.0
Bools = NDArray[np.bool_]
# (rng, durations in s) -> (durations, failed) of the calls while the fault works
Works = Callable[[np.random.Generator, Values], tuple[Values, Bools]]


def delayed(least_s: float, most_s: float, hit: float = 1.0) -> Works:
    def works(rng: np.random.Generator, seconds: Values) -> tuple[Values, Bools]:
        late = rng.uniform(least_s, most_s, len(seconds)) * (rng.random(len(seconds)) < hit)
        longer = np.minimum(seconds + late, TIMEOUT_S)
        return longer, longer >= TIMEOUT_S

    return works


def failing(probability: float, after_s: float = TIMEOUT_S) -> Works:
    def works(rng: np.random.Generator, seconds: Values) -> tuple[Values, Bools]:
        failed = rng.random(len(seconds)) < probability
        return np.where(failed, after_s, seconds), failed

    return works


def cut_after(bytes_: int) -> Works:
    """A connection carries so many bytes; the answer that exceeds them is cut off."""

    def works(rng: np.random.Generator, seconds: Values) -> tuple[Values, Bools]:
        carried = np.cumsum(rng.uniform(300.0, 500.0, len(seconds)))
        failed = np.diff(carried // bytes_, prepend=0.0) > 0
        return np.where(failed, 0.01, seconds), failed

    return works


def queued(rng: np.random.Generator, seconds: Values) -> tuple[Values, Bools]:
    """A fifth of the calls come while all connections are in use: half of these wait too long."""
    waits = np.where(rng.random(len(seconds)) < 0.2, rng.uniform(0.5, 1.5, len(seconds)), 0.0)
    return np.minimum(seconds + waits, TIMEOUT_S), seconds + waits > TIMEOUT_S


BYTES = {"bytes": 30_000}  # by the proxy's count: 400 of each of 75 calls
# kind, or kind and case -> (attributes, scope, calls a second, its work, new connections a second)
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], float, Works, float | None]] = {
    "latency": ({"latency_ms": 200, "jitter_ms": 20}, {}, 5, delayed(0.18, 0.22), None),
    "latency, longer than the timeout": ({"latency_ms": 2000}, {}, 5, delayed(2.0, 2.0), None),
    "latency, few calls": ({"latency_ms": 300, "jitter_ms": 50}, {}, 1, delayed(0.25, 0.35), None),
    "latency, of a part": ({"latency_ms": 300}, {"share": 0.5}, 5, delayed(0.3, 0.3, 0.5), None),
    "latency, normal": ({"latency_ms": 200, "jitter_ms": 50, "distribution": "normal"}, {}, 10,
                        delayed(0.1, 0.3), None),
    "bandwidth": ({"rate_kb_s": 4}, {}, 5, delayed(0.1, 0.2), None),
    "bandwidth, 0": ({"rate_kb_s": 0}, {}, 5, failing(1.0), None),
    "slicer": ({"average_bytes": 64, "delay_us": 20_000}, {}, 5, delayed(0.1, 0.13), None),
    "blackhole": ({}, {}, 5, failing(1.0), None),
    "blackhole, few calls": ({}, {}, 1, failing(1.0), None),
    "blackhole, of a part": ({}, {"share": 0.3}, 10, failing(0.3), None),
    "down": ({}, {}, 5, failing(1.0, 0.001), None),
    "partition": ({"rate": 0}, {}, 5, failing(1.0), None),
    "packet_loss": ({"loss_rate": 0.1}, {}, 15, failing(0.1), None),
    "reset_peer": ({"after_bytes": 4000}, {}, 5, cut_after(4000), 0.5),
    "reset_peer, of idle connections": ({"after_ms": 500}, {}, 6, failing(0.0), 2.0),
    "limit_data": ({"bytes": 1000}, {}, 6, cut_after(1000), 2.0),
    "connection_cap": ({"connections": 4, "when_full": "refuse"}, {}, 10, failing(0.2, 0.001), None),
    "connection_cap, queue": ({"connections": 4}, {}, 10, queued, None),
}  # fmt: skip


def fault_of(name: str) -> FaultRecord:
    attributes, scope, *_ = CASES[name]
    kind = name.partition(",")[0]
    return FaultRecord("f", kind, "a->b-1", "edge", scope, attributes, evidence=dict(BYTES))


def made(start_s: float, per_s: float, *columns: Values | Bools) -> list[Crossing]:
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [Crossing(start_s + n / per_s, *each) for n, each in enumerate(rows)]


def crossed(name: str, rng: np.random.Generator, *, works: bool) -> Crossings:
    _, _, per_s, work, opened = CASES[name]
    median_s = 0.005
    before_n, during_n = int(BEFORE_S * per_s), int(DURING_S * per_s)
    before = durations(rng, before_n, median_s)
    during = durations(rng, during_n, median_s * SLOWER)
    failed_before = np.array(outcomes(rng, before_n, 0.004, r=0.3))
    failed = np.array(outcomes(rng, during_n, 0.004 * SLOWER, r=0.3))
    lost = np.zeros(during_n, dtype=bool)
    if works:
        during, lost = work(rng, during)
    seen_before = made(0.0, per_s, before, failed_before, failed_before & False)
    seen_during = made(float(BEFORE_S), per_s, during, failed | lost, lost)
    if opened is None:
        return Crossings(WINDOWS, seen_before, seen_during)
    usual = 0.05
    more_opened = usual * SLOWER + opened * works
    return Crossings(
        WINDOWS,
        seen_before,
        seen_during,
        counts(rng, BEFORE_S, usual),
        counts(rng, DURING_S, more_opened),
    )


@pytest.mark.parametrize("name", CASES)
def test_noise_is_never_confirmed_and_the_fault_is(name: str) -> None:
    fault = fault_of(name)
    confirmed = {}
    for works in (False, True):
        seen = [
            effects_of(fault, crossed(name, np.random.default_rng(seed), works=works))
            for seed in range(SEEDS[works])
        ]
        confirmed[works] = sum(any(e.status == "confirmed" for e in effects) for effects in seen)
    assert confirmed[False] == 0
    assert confirmed[True] >= 0.95 * SEEDS[True]


def test_every_kind_has_a_case_and_a_sentence_for_the_docs() -> None:
    unseen = {kind for kind, sentence in CONFIRMED_BY.items() if sentence.startswith("never")}
    assert unseen == {"noop", "slow_close"}
    assert {name.partition(",")[0] for name in CASES} == set(KINDS) - unseen
    assert set(CONFIRMED_BY) == set(KINDS)


INFO = {"started_s": 0.0, "ended_s": 60.0}
EDGE = {"fault_id": "f", "kind": "latency", "target": "orders->bank-1", "point": "edge", "commanded_s": 20.0,
        "effective_s": 20.0, "removed_s": 40.0, "ttl_s": 20.0, "attributes": {"latency_ms": 100}, "scope": {},
        "hits": 99, "evidence": {"counted_by": "proxy", "connections": 2, "bytes": 512}}  # fmt: skip


def calls(before_s: float, during_s: float, peer: str = "bank-1", **during: Any) -> list[Any]:
    """Of orders over the edge, five a second."""
    rows = []
    for at in np.arange(0.0, 60.0, 0.2):
        hit = 20.0 <= at < 40.0
        row: dict[str, Any] = {"trace_id": "t", "span_id": "s", "service": "orders"}
        row["instance"] = "orders-1"
        row |= {"kind": "client", "peer": peer, "status": "unset", "start_ns": int(at * 1e9)}
        row["attributes"] = {"breakwater.peer.instance": peer}
        row["end_ns"] = int((at + (during_s if hit else before_s)) * 1e9)
        rows.append(row | (during if hit else {}))
    return rows


@pytest.mark.parametrize(
    ("fault", "spans", "status", "why"),
    [
        ({}, calls(0.01, 0.11), "confirmed", "calls of 100 ms or failed, by the caller: 0 before, 100 %"),
        ({}, calls(0.01, 0.01), "mismatch", "calls of 100 ms or failed, by the caller: 0 before, 0 %"),
        ({}, [], "inconclusive", "calls of 100 ms or failed"),
        ({"effective_s": None}, calls(0.01, 0.11), "mismatch", "it never took effect"),
        ({"removed_s": 42.0}, calls(0.01, 0.11), "mismatch", "outlived its TTL"),
        ({"attributes": {"latency_ms": 0}}, calls(0.01, 0.02), "mismatch", "promises no effect"),
        ({"kind": "down"}, calls(0.01, 0.01, status="error"), "confirmed", "100 % during"),
        ({"kind": "down"}, calls(0.01, 0.01), "mismatch", "0 % during"),
        ({"target": "orders->postgres", "kind": "blackhole"},
         calls(0.01, 1.0, "postgres", status="error"), "confirmed", "100 % during"),
        ({"target": "notifications->smtp", "kind": "blackhole"}, calls(0.01, 1.0), "inconclusive",
         "failed"),
        ({"kind": "noop"}, calls(0.01, 0.01), "inconclusive", "it has no effect by definition"),
        ({"kind": "slow_close"}, calls(0.01, 0.01), "inconclusive", "when a connection is closed"),
    ],
)  # fmt: skip
def test_the_proxys_claim_is_no_evidence(
    tiny: Callable[..., Run],
    fault: dict[str, Any],
    spans: list[dict[str, Any]],
    status: str,
    why: str,
) -> None:
    [judged] = judge_faults(tiny(info=INFO, faults=[EDGE | fault], spans=spans))
    assert judged.status == status, judged.why
    assert why in judged.why


def test_what_the_breaker_refuses_counts_as_failed(tiny: Callable[..., Run]) -> None:
    seen = [each for each in calls(0.01, 1.0, status="error") if each["start_ns"] < 21e9]
    refused = [
        {"time_s": 21.0 + n / 5, "service": "orders", "instance": "orders-1", "edge": "orders->bank",
         "policy": "breaker", "kind": "rejection"}
        for n in range(90)
    ]  # fmt: skip
    fault = EDGE | {"kind": "partition", "attributes": {"rate": 0}}
    [judged] = judge_faults(tiny(info=INFO, faults=[fault], spans=seen, breakers=refused))
    assert judged.status == "confirmed"
    assert "100 calls before, 95 during" in judged.why


def test_calls_that_wait_until_the_fault_ends_show_it(tiny: Callable[..., Run]) -> None:
    fault = EDGE | {"kind": "partition", "attributes": {"rate": 0}}
    spans = calls(0.01, 0.01)
    [judged] = judge_faults(tiny(info=INFO, faults=[fault], spans=spans))
    assert judged.status == "mismatch", judged.why
    for each in spans:
        if 20e9 <= each["start_ns"] < 40e9:
            each["end_ns"] = 40_100_000_000
    [judged] = judge_faults(tiny(info=INFO, faults=[fault], spans=spans))
    assert judged.status == "confirmed", judged.why


def test_connections_that_the_caller_opens_show_resets_of_idle_ones(
    tiny: Callable[..., Run],
) -> None:
    opened, rows = 0.0, []
    for second in range(60):
        opened += 2.0 * (20 <= second < 40)
        row = {"time_s": second + 0.5, "service": "orders", "instance": "orders-1"}
        labels = {"peer": "bank-1"}
        rows.append(row | {"name": "connections_opened_total", "labels": labels, "value": opened})
    fault = EDGE | {"kind": "reset_peer", "attributes": {"after_ms": 500}}
    [judged] = judge_faults(tiny(info=INFO, faults=[fault], metrics=rows, spans=calls(0.01, 0.01)))
    assert judged.status == "confirmed"
    assert judged.evidence["effect"]["measure"] == "connections opened"
    still = [row | {"value": 4.0} for row in rows]
    [judged] = judge_faults(tiny(info=INFO, faults=[fault], metrics=still, spans=calls(0.01, 0.01)))
    assert judged.status == "mismatch", judged.why


def test_calls_from_the_ingress_are_those_that_nginx_sent_to_the_gateway(
    tiny: Callable[..., Run],
) -> None:
    spans = []
    for n, row in enumerate(calls(0.01, 0.5)):
        at = {"instance": "nginx", "service": "nginx", "kind": "server", "span_id": f"n{n}"}
        address = f"127.0.0.1:{8000 + n % 2}"
        nginx = row | at | {"attributes": {"breakwater.upstream": address}}
        gateway = {"service": "gateway", "instance": f"gateway-{n % 2 + 1}", "kind": "server"}
        spans += [nginx, row | gateway | {"span_id": f"g{n}", "parent_span_id": f"n{n}"}]
    fault = EDGE | {"target": "ingress->gateway-1"}
    [judged] = judge_faults(tiny(info=INFO, faults=[fault], spans=spans))
    assert judged.status == "confirmed"
    assert "50 calls before, 50 during" in judged.why
