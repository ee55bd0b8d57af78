"""The observers that `blind` chooses, and its refusal where there is none."""

from types import SimpleNamespace
from typing import Any

import pytest

from lab.chaos import observers
from lab.chaos.probes import NotObservedError


@pytest.fixture
def applied(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str], float]]:
    calls: list[tuple[str, list[str], float]] = []

    def apply(client: object, kind: str, targets: list[str], for_s: float) -> list[dict[str, Any]]:
        calls.append((kind, targets, for_s))
        return [{"fault_id": f"{kind}-{name}"} for name in targets]

    monkeypatch.setattr(observers, "apply_for", apply)
    monkeypatch.setattr(observers, "configured_lab", lambda configuration: None)
    return calls


def lab_with(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    lab = SimpleNamespace(servers=[SimpleNamespace(name=name) for name in names])
    monkeypatch.setattr(observers, "FaultClient", lambda _: SimpleNamespace(lab=lab))


def test_an_outage_that_would_hit_nothing_is_refused(
    applied: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab_with(monkeypatch, "postgres", "recorder")
    with pytest.raises(NotObservedError, match="no observers for which outage is possible"):
        observers.blind("outage", 1.0)
    assert applied == []
    assert len(observers.blind("pause", 1.0)) == 1


def test_the_recorder_hangs_after_the_others_so_that_it_sees_them_hang(
    applied: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab_with(monkeypatch, "recorder", "jaeger", "prometheus", "postgres")
    rows = observers.blind("pause", 0.02)
    assert len(rows) == 3
    assert applied == [("pause", ["jaeger", "prometheus"], 0.02), ("pause", ["recorder"], 0.01)]
