"""Judgement of faults, validity, SLIs and the verdict."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chaoslib.activity import execute_activity

from lab.analysis.activities import reason_of
from lab.analysis.verdict.measures import SliError
from lab.analysis.verdict.slis import evaluate
from lab.analysis.verdict.verdict import judge, write_verdict
from lab.archive import ArchiveError, Run, seal
from lab.archive.manifest import write_manifest
from tests.lab.analysis.archives import EXPERIMENT, edit, edit_experiment, refit
from tests.lab.analysis.request_rows import request

Archive = Callable[..., Path]
RAN = {"start": "2026-01-01T00:00:00", "end": "2026-01-01T00:00:01", "output": None}


def test_a_run_that_meets_its_claim_is_held(clean: Run) -> None:
    verdict = judge(clean)
    assert (verdict["verdict"], verdict["exit_code"], verdict["reasons"]) == ("held", 0, [])
    assert all(check["ok"] for check in verdict["validity"])
    assert [sli["answer"] for sli in verdict["sli"]] == ["kept"] * 4
    assert verdict["expectations"][0]["answer"] == "kept"


def test_the_verdict_of_a_sealed_archive_is_the_same_and_changes_no_table(archive: Archive) -> None:
    path = archive()
    raw = judge(Run(path))
    seal(path)
    write_manifest(path)
    before = {file.name: file.read_bytes() for file in path.glob("*.parquet")}
    write_verdict(path)
    stored = Run(path).verdict
    assert stored is not None
    assert stored == json.loads(json.dumps(raw))
    (fault,) = stored["faults"]
    assert fault["status"] == "confirmed"
    assert fault["evidence"]["low"] >= fault["evidence"]["least"]
    assert write_verdict(path) == write_verdict(path)
    assert {file.name: file.read_bytes() for file in path.glob("*.parquet")} == before


@pytest.mark.parametrize(("mutant", "invariant"), [("second_hold", 11), ("unfinished_saga", 8)])
def test_a_violated_invariant_is_a_deviation(archive: Archive, mutant: str, invariant: int) -> None:
    verdict = judge(Run(archive(mutant)))
    assert (verdict["verdict"], verdict["exit_code"]) == ("deviated", 1)
    assert len(verdict["reasons"]) == 1
    assert verdict["reasons"][0].startswith(f"invariant {invariant} (")


def test_an_invariant_that_is_not_asked_is_shown_and_does_not_change_the_verdict(
    archive: Archive,
) -> None:
    path = archive("oversell")
    edit_experiment(path, not_asked={3: "nothing is sold out"})
    verdict = judge(Run(path))
    assert verdict["verdict"] == "held"
    assert verdict["invariants"][2]["status"] == "violated"
    assert verdict["invariants"][2]["not_asked"] == "nothing is sold out"


def test_a_missed_sli_and_a_breaker_that_is_too_slow_are_deviations(archive: Archive) -> None:
    path = archive()
    edit_experiment(
        path,
        slis=[
            {"name": "orders are fast", "route": "POST /api/orders", "window": "during",
             "measure": "p95_ms", "limit": 500},
            {"name": "refunds work", "route": "POST /refunds", "measure": "error_ratio",
             "limit": 0.1},
        ],
        expects={"breaker": {"edge": "payments->bank", "opens_within_s": 0.5}},
    )  # fmt: skip
    verdict = judge(Run(path))
    assert verdict["verdict"] == "deviated"
    slow, breaker = verdict["reasons"]
    assert slow.startswith("orders are fast: 2,50")
    assert "limit 500 ms" in slow
    assert breaker.startswith("the breaker payments->bank opens within 0.5 s: after 1.")
    assert verdict["undecided"] == [
        "refunds work: limit 10%, no data: no requests in this window;"
        " about 29 more requests would decide it"
    ]


def test_a_breaker_without_events_does_not_meet_its_expectation(archive: Archive) -> None:
    path = archive()
    edit_experiment(path, expects={"breaker": {"edge": "a->b", "opens_within_s": 5}})
    assert judge(Run(path))["reasons"] == ["the breaker a->b opens within 5 s: it did not"]


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        (lambda p: edit(p, "run.json", interrupted=True), "was interrupted"),
        (lambda p: edit(p, "run.json", exit_codes={"chaos": -9, "load": 0}), "exit code of chaos is -9"),
        (lambda p: edit(p, "run.json", exit_codes={"load": 0}), "exit code of chaos is None"),
        (lambda p: (p / "journal.json").unlink(), "journal.json is missing"),
        (lambda p: edit(p, "run.json", quiescence={"reached": False, "waited_s": 9}),
         "the audit: not reached after 9.0 s"),
        (lambda p: edit(p, "run.json", quiescence={}), "it was not checked"),
        (lambda p: edit(p, "run.json", load={"planned": 9999, "sent": 1765, "dropped": 0}),
         "1,765 of 9,999 arrivals"),
        (lambda p: edit(p, "run.json", residue=["toxic slow on payments->bank"]), "left behind"),
        (lambda p: edit(p, "recorder.json", shed={"spans": 7}), "shed 7 rows of spans"),
        (lambda p: (p / "recorder.json").unlink(), "recorder did not finish"),
        (lambda p: (p / "requests.ndjson").unlink(), "no request was recorded"),
        (lambda p: (p / "faults.ndjson").unlink(), "the fault took effect: none was recorded"),
        (lambda p: (p / "state/bank.ledger.parquet").unlink(), "no audit table bank.ledger"),
        (lambda p: edit(p, "journal.json", run=[{"activity": {"name": "make the bank slow"},
                                                 "status": "failed"}]), "the action 'make the bank slow' failed"),
        (lambda p: edit(p, "journal.json",
                        steady_states={"before": {"steady_state_met": False}}), "not met before"),
        (lambda p: edit(p, "journal.json", steady_states={"before": {"steady_state_met": False, "probes": [
            7, {"activity": 7, "exception": "x", "tolerance_met": False}]}}), "not met before"),
    ],
)  # fmt: skip
def test_a_run_that_proves_nothing_is_invalid(
    archive: Archive, break_it: Callable[[Path], None], reason: str
) -> None:
    path = archive()
    break_it(path)
    verdict = judge(Run(refit(path)))
    assert (verdict["verdict"], verdict["exit_code"]) == ("invalid", 3)
    assert reason in " | ".join(verdict["reasons"])


def test_a_shop_that_missed_its_limits_before_the_fault_makes_a_run_invalid(
    archive: Archive,
) -> None:
    path = archive()
    route = "POST /api/orders"
    edit_experiment(
        path, slis=[{"route": route, "window": "before", "measure": "p95_ms", "limit": 0.001}]
    )
    verdict = judge(Run(path))
    assert (verdict["verdict"], verdict["exit_code"]) == ("invalid", 3)
    assert "the shop was steady before the fault" in verdict["reasons"][0]
    assert "limit 0.001 ms" in verdict["reasons"][0]


def test_late_sending_makes_a_run_invalid(archive: Archive) -> None:
    path = archive()
    rows = [json.loads(line) for line in (path / "requests.ndjson").read_text().splitlines()]
    for row in rows[::20]:
        row["actual_start_s"] += 0.5
        row["end_s"] += 0.5
    (path / "requests.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "requests were sent when they were due: p99 50" in judge(Run(refit(path)))["reasons"][0]


def test_a_hypothesis_not_met_after_the_fault_is_a_deviation(archive: Archive) -> None:
    path = archive()
    met: dict[str, Any] = {"steady_state_met": True, "probes": []}
    missed = met | {"steady_state_met": False}
    edit(path, "journal.json", status="failed", deviated=True,
         steady_states={"before": met, "after": missed, "during": [met, missed]})  # fmt: skip
    verdict = judge(Run(path))
    assert verdict["verdict"] == "deviated"
    assert verdict["reasons"] == [
        "the steady state was not met during the fault",
        "the steady state was not met after the fault",
    ]


def test_a_failed_probe_is_a_deviation(archive: Archive) -> None:
    path = archive()
    edit(path, "journal.json", run=[
        {"activity": EXPERIMENT["method"][0], "status": "succeeded"} | RAN,
        {"activity": {"name": "the breaker opens", "type": "probe"}, "status": "failed"} | RAN,
        {"activity": {"name": "it closes", "type": "probe"}, "status": "succeeded",
         "tolerance_met": True} | RAN,
    ])  # fmt: skip
    assert judge(Run(path))["reasons"] == ["the probe 'the breaker opens' failed"]


WRAPPED = "chaoslib.exceptions.ActivityFailed: lab.chaos.faults.errors.FaultRefusedError: bank-1 is\nnot running\n"


@pytest.mark.parametrize(
    ("exception", "reason"),
    [
        (["Traceback ...\n", WRAPPED], "FaultRefusedError: bank-1 is not running"),
        (["chaoslib.exceptions.ActivityFailed: KeyError: 'x'\n"], "KeyError: 'x'"),
        (["chaoslib.exceptions.ActivityFailed: timed out\n"], "ActivityFailed: timed out"),
        (["TimeoutError\n"], "TimeoutError"),
        (["no such thing: a.b.C: d\n"], "no such thing: a.b.C: d"),
        ([], ""),
        (None, ""),
        ("text", ""),
    ],
)
def test_the_reason_of_a_failed_step_is_the_error_of_its_function(
    exception: object, reason: str
) -> None:
    assert reason_of(exception) == reason


def test_the_reason_is_in_what_the_toolkit_writes() -> None:
    provider = {"type": "python", "module": "json", "func": "loads", "arguments": {"s": "{"}}
    action = {"type": "action", "name": "x", "provider": provider}
    step = execute_activity({}, action, {}, {}, None)
    assert step["status"] == "failed"
    assert reason_of(step["exception"]).startswith("JSONDecodeError: Expecting property name")


def test_a_refused_action_makes_a_run_invalid_with_the_reason(archive: Archive) -> None:
    path = archive()
    step = {"activity": EXPERIMENT["method"][0], "status": "failed", "exception": [WRAPPED]}
    edit(path, "journal.json", run=[step | RAN])
    assert (
        "the experiment finished: the action 'make the bank slow' failed:"
        " FaultRefusedError: bank-1 is not running"
    ) in judge(Run(path))["reasons"]


def test_a_steady_state_that_was_not_met_names_its_probe_and_the_value(archive: Archive) -> None:
    path = archive()
    probe = {"activity": {"name": "orders are fast", "tolerance": [0, 3]}, "status": "succeeded"}
    met = {"steady_state_met": True, "probes": []}
    slow = {"steady_state_met": False, "probes": [probe | {"output": 3.4, "tolerance_met": False}]}
    lost = {"activity": {"name": "a page opens"}, "status": "failed", "exception": [WRAPPED]}
    states = {"before": met, "after": met, "during": [met, slow]}
    edit(path, "journal.json", steady_states=states)
    assert judge(Run(path))["reasons"] == [
        "the steady state was not met during the fault: 'orders are fast': 3.4 is not within [0, 3]"
    ]
    before = {"steady_state_met": False, "probes": [lost | {"tolerance_met": False}]}
    edit(path, "journal.json", steady_states=states | {"before": before})
    reasons = " | ".join(judge(Run(path))["reasons"])
    assert "before the method began: 'a page opens': FaultRefusedError: bank-1 is not" in reasons


@pytest.mark.parametrize(
    ("tolerance", "output", "reason"),
    [
        ([0, 2.5], 2.0, ""),
        ([0, 2.5], 6.2, "6.2 is not within [0, 2.5]"),
        (0.0, 0.0, ""),
        (0.0, 0.04, "0.04 is not within 0.0"),
    ],
)
def test_the_tolerance_of_a_probe_in_the_method_counts(
    archive: Archive, tolerance: object, output: float, reason: str
) -> None:
    """Chaos Toolkit itself ignores it."""
    path = archive()
    journal = json.loads((path / "journal.json").read_text())
    probe = {"name": "a page gets an answer", "type": "probe", "tolerance": tolerance}
    step = RAN | {"activity": probe, "status": "succeeded", "output": output}
    edit(path, "journal.json", run=[*journal["run"], step])
    found = " ".join(judge(Run(path))["reasons"])
    assert ("the probe 'a page gets an answer' failed" in found) == bool(reason)
    assert reason in found


def test_an_experiment_without_a_claim_is_invalid(archive: Archive) -> None:
    path = archive()
    edit_experiment(path, claim="", slis=[], expects={})
    edit(path, "journal.json", steady_states={})
    [reason] = judge(Run(path))["reasons"]
    assert "the steady state before the method is missing" in reason


def test_without_quiescence_a_run_with_a_hung_saga_has_deviated(archive: Archive) -> None:
    path = archive("unfinished_saga")
    edit(path, "run.json", quiescence={"reached": False, "waited_s": 30.0, "left": {}})
    verdict = judge(Run(path))
    assert verdict["verdict"] == "deviated"
    assert verdict["reasons"][0].startswith("invariant 8 (")


def test_a_run_that_its_guard_stopped_has_deviated_with_the_reason(archive: Archive) -> None:
    path = archive()
    guard = {"name": "orders fail", "reason": "error_ratio 0.7", "violated_s": 5.0}
    edit(path, "run.json", guard=guard | {"faults_off_s": 5.25, "problems": []})
    edit(path, "journal.json", status="aborted")
    verdict = judge(Run(path))
    assert verdict["verdict"] == "deviated"
    assert verdict["reasons"][0] == (
        "the guard 'orders fail' stopped the experiment: error_ratio 0.7;"
        " all faults were removed 0.25 s later"
    )


def test_an_unknown_invariant_is_an_error(archive: Archive) -> None:
    path = archive()
    edit_experiment(path, not_asked={42: "unknown"})
    with pytest.raises(ArchiveError, match="names invariant 42: the invariants are 1 to"):
        judge(Run(path))


def rows(n: int, slow: int = 0) -> list[dict[str, Any]]:
    return [request(i, float(i), i + (1.0 if i < slow else 0.1)) for i in range(n)]


@pytest.mark.parametrize(
    ("sli", "message"),
    [
        ({"measure": "speed", "limit": 1}, "measure 'speed'; expected p50_ms"),
        ({"measure": "p95_ms", "limit": "fast"}, "limit 'fast'; expected a number"),
        ({"measure": "p95_ms", "limit": 1, "window": "later"}, "window 'later'; expected one of"),
    ],
)
def test_the_error_of_a_malformed_sli_names_the_expected_form(
    tiny: Callable[..., Run], sli: dict[str, Any], message: str
) -> None:
    with pytest.raises(SliError, match=message):
        evaluate(sli, tiny(requests=rows(3)))
