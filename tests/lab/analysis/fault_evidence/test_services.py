"""An inert injector is never confirmed, and a working one is: each kind of fault inside a service."""

from pathlib import Path
from typing import Any

import pytest

from chassis.faults import CATALOGUE
from lab.analysis.fault_evidence.judge import judge_faults
from lab.analysis.fault_evidence.judged import DEATHS
from lab.analysis.fault_evidence.services.table import NOTHING, WITNESSES
from lab.archive import Run
from tests.lab.analysis.fault_evidence.service_faults import FAULTS, judged
from tests.lab.analysis.fault_evidence.world import BEFORE_S, END_S, START_S, Op, World

# Those of the experiments; `make verify-faults` examines every kind with 20 working and 200 inert injectors.
OF_EXPERIMENTS = {
    ("latency", "inbound"), ("latency", "database"), ("concurrency", "inbound"),
    ("gray_failure", "inbound"), ("flush", "process"), ("poison", "consume"), ("skew", "process"),
}  # fmt: skip
# No archive shows these: a noop changes nothing, and an event has no header that anything records.
UNSEEN = {("noop", point) for point in CATALOGUE["noop"].points} | {("drop_header", "publish")}


@pytest.mark.parametrize("point", sorted({point for _, point in FAULTS}))
def test_a_working_fault_is_confirmed_and_an_inert_one_never(tmp_path: Path, point: str) -> None:
    seeds = {
        key: (20, 20) if key in OF_EXPERIMENTS else (3, 3) for key in FAULTS if key[1] == point
    }
    for key, (inert, working) in judged(tmp_path / "run", seeds).items():
        assert [f"{key}: {each.why}" for each in inert if each.status == "confirmed"] == []
        others = [f"{key}: {each.why}" for each in working if each.status != "confirmed"]
        assert len(others) <= len(working) // 20, others


def test_every_kind_at_every_point_has_a_witness_and_a_test() -> None:
    catalogue = {(kind, point) for kind, make in CATALOGUE.items() for point in make.points}
    deaths = {key for key in catalogue if key[0] in DEATHS}
    assert set(WITNESSES) == catalogue - UNSEEN - deaths
    assert set(FAULTS) == set(WITNESSES)


def test_a_kind_that_nothing_shows_is_never_confirmed(tmp_path: Path) -> None:
    row = {"fault_id": "f", "kind": "noop", "target": "bank-1", "point": "inbound"}
    world = World()
    world.rows["faults"].append(row | {"commanded_s": START_S, "effective_s": START_S, "hits": 9})
    [each] = judge_faults(Run(world.write(tmp_path / "run")))
    assert (each.status, each.why) == ("inconclusive", NOTHING)


def test_an_event_that_is_never_given_up_shows_its_poison(tmp_path: Path) -> None:
    """A consumer without dead letters is sent the same event again and again."""

    def poison(world: World, deliveries: int) -> str:
        row: dict[str, Any] = {
            "fault_id": "f",
            "kind": "poison",
            "target": "bank-1",
            "point": "consume",
        }
        row |= {"scope": "{}", "attributes": "{}", "ttl_s": END_S - START_S, "hits": 99}
        world.rows["faults"].append(
            row | {"commanded_s": START_S, "effective_s": START_S, "removed_s": END_S}
        )
        for n in range(20):
            at_s = BEFORE_S + 1.5 * n
            times = deliveries if at_s >= START_S else 1
            for again in range(times):
                op = Op(at_s + 0.01 * again, 0.005, None)
                world.span("bank", "consumer", "process OrderConfirmed", op, parent_span_id=f"p{n}")
        [judged] = judge_faults(Run(world.write(tmp_path / str(deliveries))))
        return judged.status

    assert poison(World(), 40) == "confirmed"
    assert poison(World(), 2) != "confirmed"
