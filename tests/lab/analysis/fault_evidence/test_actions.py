"""Each action of a method hits something, or its effect is in the audit."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from lab.analysis.fault_evidence.actions import action_effects
from lab.archive import Run

FAULT = {"fault_id": "f", "kind": "latency", "target": "bank-1", "point": "inbound"}
START = "1970-01-01T00:01:00"
Step = dict[str, Any]


def step(function: str, output: object) -> Step:
    provider = {"type": "python", "module": "m", "func": function}
    activity = {"type": "action", "name": "it", "provider": provider}
    return {"activity": activity, "output": output, "start": START}


def audit(path: Path, table: str, query: str) -> None:
    (path / "state").mkdir(exist_ok=True)
    with duckdb.connect() as connection:
        connection.sql(query).write_parquet(str(path / "state" / f"{table}.parquet"))


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (step("add_fault", [FAULT]), ""),
        (step("anything", FAULT), ""),
        (step("add_fault", [FAULT | {"fault_id": "g"}]), "the faults g are not recorded"),
        (step("blind", []), "it hit nothing"),
        (step("pause", None), "it hit nothing"),
        (step("clear_faults", 1), ""),
        (step("cancel_orders", ["a", "b"]), ""),
        (step("cancel_orders", ["a", "c"]), "the audit shows 1 of 2 effects"),
        (step("cancel_orders", []), "the audit shows 0 of 0 effects"),
        (step("redrive", 1), ""),
        (step("redrive", 2), "the audit shows 1 of 2 effects"),
        (step("redrive", 0), "the audit shows 1 of 0 effects"),
        (step("other", 7), "no evidence is known for it"),
    ],
)
def test_an_action_without_effect_is_found(
    tiny: Callable[..., Run], given: Step, problem: str
) -> None:
    dead = {"time_s": 50.0, "service": "notifications", "instance": "notifications-1", "value": 1.0}
    dead |= {"name": "inbox_events_total", "labels": {"result": "dead"}}
    run = tiny(info={}, faults=[FAULT], metrics=[dead])
    orders = "('a', 'cancelled'), ('b', 'cancelled'), ('c', 'confirmed')"
    audit(run.path, "orders.orders", f"FROM (VALUES {orders}) t(order_id, status)")
    audit(run.path, "orders.outbox",
          "SELECT unnest(['e', 'later']) event_id, to_timestamp(unnest([50, 59])) published_at")  # fmt: skip
    audit(run.path, "notifications.mails",
          "SELECT unnest(['e', 'later']) event_id, to_timestamp(unnest([61, 61])) sent_at")  # fmt: skip
    (run.path / "journal.json").write_text(json.dumps({"run": [given]}))
    name, ok, detail = action_effects(Run(run.path))
    assert name == "each action took effect"
    assert ok == (not problem)
    assert detail.startswith(f"'it': {problem}" if problem else "")


def test_an_effect_without_an_audit_is_not_assumed(tiny: Callable[..., Run]) -> None:
    run = tiny(info={}, faults=[FAULT])
    (run.path / "journal.json").write_text(json.dumps({"run": [step("cancel_orders", ["a"])]}))
    _, ok, detail = action_effects(Run(run.path))
    assert not ok
    assert "no audit table" in detail


def test_a_redrive_of_no_dead_letters_has_nothing_to_show(tiny: Callable[..., Run]) -> None:
    run = tiny(info={}, faults=[FAULT])
    (run.path / "journal.json").write_text(json.dumps({"run": [step("redrive", 0)]}))
    assert action_effects(Run(run.path))[1]
