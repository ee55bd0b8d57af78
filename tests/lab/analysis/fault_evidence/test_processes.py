"""Faults of whole processes are confirmed by their absence, as others saw it; an inert injector never is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lab.analysis.fault_evidence.effect import Effect
from lab.analysis.fault_evidence.judge import judge_faults
from lab.analysis.fault_evidence.processes import CONFIRMED_BY, refused, restarts, slower
from lab.analysis.fault_evidence.silence import silence
from lab.archive import Run
from lab.fault_kinds.processes import KINDS
from tests.lab.analysis.fault_evidence.noise import durations
from tests.lab.analysis.fault_evidence.processes_lab import SLOWER, life

SEEDS = 200
Case = Callable[[np.random.Generator, bool], Effect]
KILLED = ((0.0, 1.2),)


def silent(lasts_s: float, **more: Any) -> Case:
    def effect(rng: np.random.Generator, works: bool) -> Effect:
        gone = ((0.0, lasts_s),) if works else ()
        seen = life(rng, lasts_s, gone=gone, **more)
        return silence(seen.signs, seen.windows)[0]

    return effect


def started_again(*gone: tuple[float, float], lasts_s: float = 2.0, least: int = 1) -> Case:
    def effect(rng: np.random.Generator, works: bool) -> Effect:
        seen = life(rng, lasts_s, gone=gone if works else (), new_starts=True)
        return restarts(seen.starts, seen.windows, least)

    return effect


def refusing(rng: np.random.Generator, works: bool) -> Effect:
    gone = KILLED if works else ()
    seen = life(rng, 1.2, gone=gone, every_s=0.5, refuses=True, spans_per_s=0.2)
    return refused(seen.refusals, seen.windows)


def throttled(rng: np.random.Generator, works: bool) -> Effect:
    """A tenth of a processor: a call that the quota interrupts waits for the next 100 ms."""
    before, during = durations(rng, 200, 4.0), durations(rng, 200, 4.0 * SLOWER)
    interrupted = (rng.random(200) < 0.3) * works
    return slower(before, during + 90.0 * interrupted)


# kind, or kind and case
CASES: dict[str, Case] = {
    "pause": silent(2.5),
    "pause, database": silent(6.0, every_s=0.5, spans_per_s=50.0),
    "pause, few calls": silent(6.0, spans_per_s=0.2),
    "pause, recorder": silent(14.0, target="recorder"),
    "outage": silent(15.0),
    "outage, server": silent(15.0, every_s=0.5, refuses=True, spans_per_s=0.1),
    "disconnect": silent(10.0, spans_per_s=0.0),
    "kill": started_again(*KILLED),
    "kill, server": refusing,
    "terminate": started_again(*KILLED),
    "memory_limit": started_again((3.0, 4.5), lasts_s=15.0),
    "crash_loop": started_again((1.0, 2.5), (3.5, 6.0), lasts_s=12.0, least=2),
    "cpu_limit": throttled,
}


@pytest.mark.parametrize("name", CASES)
def test_noise_is_never_confirmed_and_the_fault_is(name: str) -> None:
    inert = [CASES[name](np.random.default_rng(seed), False) for seed in range(SEEDS)]
    assert [str(each) for each in inert if each.status == "confirmed"] == []
    working = [CASES[name](np.random.default_rng(seed), True) for seed in range(SEEDS // 3)]
    missed = [str(each) for each in working if each.status != "confirmed"]
    assert len(missed) <= 0.05 * SEEDS // 3, missed[:3]


def test_every_kind_has_a_case_and_a_sentence_for_the_docs() -> None:
    assert {name.partition(",")[0] for name in CASES} >= set(KINDS)
    assert set(KINDS) <= set(CONFIRMED_BY)


def test_a_blind_recorder_does_not_confirm_the_silence_of_others() -> None:
    gone = ((0.0, 14.0),)
    for hangs_at_s, status in ((0.0, "inconclusive"), (4.0, "confirmed")):
        seen = life(np.random.default_rng(1), 14.0, target="jaeger", gone=gone, every_s=0.5)
        start_s = seen.windows.during[0]
        blind = [at for at in seen.signs.looks if not start_s + hangs_at_s <= at < start_s + 14.0]
        effect, _ = silence(replace(seen.signs, looks=blind), seen.windows)
        assert effect.status == status, str(effect)


INFO = {"started_s": 0.0, "ended_s": 60.0}
PAUSE = {
    "fault_id": "f", "kind": "pause", "target": "bank-1", "point": "process", "commanded_s": 20.0,
    "effective_s": 20.1, "removed_s": 30.0, "ttl_s": 10.0, "hits": 1,
    "evidence": {"pid": 7, "signal": "SIGSTOP", "stopped_until_the_end": True},
}  # fmt: skip
KILL = PAUSE | {"kind": "kill", "ttl_s": None, "removed_s": 21.5, "evidence": {"pid": 7}}

# a service kills itself at a failpoint, seconds after the command, and can report no effect
CRASH = KILL | {"kind": "crash", "point": "failpoint", "effective_s": None, "removed_s": None}


def scrapes(down: tuple[float, float] | None, target: str = "bank-1") -> list[dict[str, Any]]:
    """One each second; a new start time after `down`."""
    rows = []
    for second in range(60):
        row = {"time_s": second + 0.5, "service": target, "instance": target, "labels": {}}
        gone = down is not None and down[0] <= second < down[1]
        rows.append(row | {"name": "up", "value": 0.0 if gone else 1.0})
        if not gone:
            started = down[1] if down and second >= down[1] else 1.0
            rows.append(row | {"name": "process_start_time_seconds", "value": started})
        rows.append(row | {"name": "up", "instance": "other", "value": 1.0})
    return rows


def span(start_s: float, **more: Any) -> dict[str, Any]:
    row = {"trace_id": "t", "span_id": "s", "service": "bank", "instance": "bank-1"}
    row |= {"kind": "server", "status": "unset"}
    return row | {"start_ns": int(start_s * 1e9), "end_ns": int((start_s + 0.01) * 1e9)} | more


@pytest.mark.parametrize(
    ("fault", "down", "spans", "status", "why"),
    [
        (PAUSE, (20, 30), [], "confirmed", "longest silence, by recorder and callers: 1 before, 11 s during"),
        (PAUSE, None, [], "mismatch", "longest silence, by recorder and callers: 1 before, 1 s during"),
        (PAUSE, (20, 30), [25.0], "mismatch", "1 spans started in it while it was stopped by the record"),
        (PAUSE | {"effective_s": None}, (20, 30), [], "mismatch", "it never took effect, by its own record"),
        (PAUSE | {"removed_s": 35.0}, (20, 35), [], "mismatch", "it outlived its TTL of 10 s by 5.0 s"),
        (PAUSE | {"kind": "outage"}, (20, 30), [], "confirmed", "longest silence"),
        (KILL, (20, 22), [], "confirmed", "new start times, by recorder: 0 before, 1 times during"),
        (KILL, None, [], "mismatch", "new start times, by recorder: 0 before, 0 times during"),
        (KILL | {"removed_s": None}, (20, 60), [], "confirmed", "longest silence"),
        (CRASH, (27, 30), [], "confirmed", "new start times"),
        (CRASH, None, [], "mismatch", "new start times"),
    ],
)  # fmt: skip
def test_the_supervisors_claim_is_no_evidence(
    tiny: Callable[..., Run],
    fault: dict[str, Any],
    down: tuple[float, float] | None,
    spans: list[float],
    status: str,
    why: str,
) -> None:
    run = tiny(info=INFO, faults=[fault], metrics=scrapes(down), spans=[span(at) for at in spans])
    [judged] = judge_faults(run)
    assert (judged.status, judged.why[: len(why)]) == (status, why)


@pytest.mark.parametrize(("back", "expected"), [(22, 2.4), (60, None)])
def test_the_evidence_of_a_death_says_whether_the_process_came_back(
    tiny: Callable[..., Run], back: float, expected: float | None
) -> None:
    removed = 21.5 if expected else None
    fault = KILL | {"removed_s": removed}
    [judged] = judge_faults(tiny(info=INFO, faults=[fault], metrics=scrapes((20, back))))
    assert judged.status == "confirmed"
    assert judged.evidence["back_s"] == pytest.approx(expected)


def test_a_killed_server_is_missed_by_probes_and_a_paused_one_by_its_callers(
    tiny: Callable[..., Run],
) -> None:
    probes = [
        row | {"name": "probe_success", "value": float(row["value"]), "labels": {"outcome": outcome}}
        for row in scrapes((20, 22), "postgres")
        if row["name"] == "up"
        for outcome in ["answered" if row["value"] else "refused"]
    ]  # fmt: skip
    kill = KILL | {"target": "postgres"}
    [judged] = judge_faults(tiny(info=INFO, faults=[kill], metrics=probes))
    assert judged.status == "confirmed"
    assert judged.evidence["effect"]["measure"] == "refused connections"
    uses = [
        span(at / 5, kind="client", peer="postgres", instance="bank-1", status=status)
        for at in range(5 * 60)
        for status in ["error" if 100 <= at < 150 else "unset"]
    ]
    pause = PAUSE | {"target": "postgres"}
    others = [row for row in probes if row["instance"] == "other"]
    [judged] = judge_faults(tiny(info=INFO, faults=[pause], metrics=others, spans=uses))
    assert judged.status == "confirmed", judged.why


def test_a_fault_whose_target_never_gave_a_sign_is_inconclusive(tiny: Callable[..., Run]) -> None:
    for kind in ("pause", "outage", "kill", "disconnect", "memory_limit", "cpu_limit"):
        fault = PAUSE | {"kind": kind, "target": "jaeger"}
        [judged] = judge_faults(tiny(info=INFO, faults=[fault], metrics=scrapes(None)))
        assert judged.status == "inconclusive", judged.why
