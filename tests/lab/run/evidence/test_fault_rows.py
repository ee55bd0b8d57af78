"""The fault rows that a journal holds: an action is one fault, several, or none."""

import json
from pathlib import Path
from typing import Any, cast

from lab.chaos.faults.client import FaultClient
from lab.run.evidence.fault_rows import fault_rows


class Quiet:
    """A lab whose instances remember no fault."""

    def history(self) -> list[Any]:
        return []


def row(fault_id: str) -> dict[str, Any]:
    return {"fault_id": fault_id, "target": "bank-1", "kind": "kill", "hits": 1, "effective_s": 2.0}


def test_an_action_may_answer_with_one_fault_or_with_several(tmp_path: Path) -> None:
    journal = tmp_path / "journal.json"
    outputs = [row("a"), [row("b"), row("c")], True, [{"target": "x", "id": "armed"}], None, [1]]
    journal.write_text(json.dumps({"run": [{"output": each} for each in outputs]}))
    rows = fault_rows(cast(FaultClient, Quiet()), journal, 0.0)
    assert [each["fault_id"] for each in rows] == ["a", "b", "c"]
    assert {each["status"] for each in rows} == {"confirmed"}
