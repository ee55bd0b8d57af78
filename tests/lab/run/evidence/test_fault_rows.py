"""The fault rows of a run: from the injectors' histories, and from what the journal's actions returned."""

import json
from pathlib import Path
from typing import Any, cast

from chassis.fault_record import FaultRecord
from lab.chaos.faults.client import FaultClient
from lab.run.evidence.fault_rows import fault_rows


class Lab:
    """A lab whose injectors remember these faults."""

    def __init__(self, *faults: FaultRecord) -> None:
        self.faults = list(faults)

    def history(self) -> list[FaultRecord]:
        return self.faults


def row(fault_id: str, **evidence: Any) -> dict[str, Any]:
    row = {"fault_id": fault_id, "target": "bank-1", "kind": "kill", "hits": 1, "effective_s": 2.0}
    return row | {"evidence": evidence}


def rows(tmp_path: Path, outputs: list[Any], *faults: FaultRecord) -> list[FaultRecord]:
    journal = tmp_path / "journal.json"
    journal.write_text(json.dumps({"run": [{"output": each} for each in outputs]}))
    return fault_rows(cast(FaultClient, Lab(*faults)), journal, 0.0)


def test_an_action_may_answer_with_one_fault_or_with_several(tmp_path: Path) -> None:
    outputs = [row("a"), [row("b"), row("c")], True, [{"target": "x", "id": "armed"}], None, [1]]
    found = rows(tmp_path, outputs)
    assert [each.fault_id for each in found] == ["a", "b", "c"]
    assert {(each.target, each.hits) for each in found} == {("bank-1", 1)}


def test_the_injectors_record_counts_and_the_actions_evidence_is_added(tmp_path: Path) -> None:
    remembered = FaultRecord("a", "kill", "bank-1", "process", hits=1, removed_s=9.0)
    (found,) = rows(tmp_path, [row("a", sagas_under_way=2.0)], remembered)
    assert (found.removed_s, found.evidence) == (9.0, {"sagas_under_way": 2.0})
