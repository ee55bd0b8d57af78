"""Judges every kind of fault with inert and with working injectors.

    python bench/faults.py                      (make verify-faults)
    python bench/faults.py --archives FOLDER [--each 3]

Without an option: on synthetic archives with noise, each kind at each point. It fails if an inert injector is
confirmed, or fewer than 95% of the working ones are.

`--archives`: on real ones, the runs below FOLDER. Some seconds before the real fault, when there was none, an
injector claims to have acted: each kind at each point, on EACH targets of each archive, chosen by the
archive's name. It fails if one of them is confirmed.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from chassis.fault_record import FaultRecord
from lab.analysis.fault_evidence import edges
from lab.analysis.fault_evidence.effect import decisive
from lab.analysis.fault_evidence.judge import judge_fault
from lab.analysis.fault_evidence.judged import CONFIRMED, INCONCLUSIVE, MISMATCH
from lab.analysis.fault_evidence.processes import BACK_S
from lab.archive import Run
from lab.fault_kinds.processes import KINDS
from tests.lab.analysis.fault_evidence import service_faults, test_edges, test_processes

INERT, WORKING = 200, 20
CONFIRMED_MIN = 0.95
CLAIMED_S = 5.0
# (seed, whether it works) -> the status
Judge = Callable[[int, bool], str]


def outside_services() -> Iterator[tuple[str, Judge]]:
    """Each kind of fault of a process or an edge."""

    def process(case: test_processes.Case) -> Judge:
        return lambda seed, works: case(np.random.default_rng(seed), works).status

    def edge(name: str) -> Judge:
        return lambda seed, works: _crossed(name, seed, works=works)

    for name, case in test_processes.CASES.items():
        yield f"{name} of a process", process(case)
    for name in test_edges.CASES:
        yield f"{name} of an edge", edge(name)


def synthetic() -> Iterator[tuple[str, list[str], list[str]]]:
    """Each kind of fault: its name, the statuses of inert and of working injectors."""
    for key in service_faults.FAULTS:
        yield " at ".join(key), *_inside(key, INERT, WORKING)
    for name, judge in outside_services():
        idle = [judge(seed, False) for seed in range(INERT)]
        yield name, idle, [judge(seed, True) for seed in range(WORKING)]


def _inside(key: tuple[str, str], inert: int, working: int) -> tuple[list[str], list[str]]:
    with tempfile.TemporaryDirectory() as folder:
        found = service_faults.judged(Path(folder) / "run", {key: (inert, working)})[key]
    idle, works = ([each.status for each in judged] for judged in found)
    return idle, works


def _crossed(name: str, seed: int, *, works: bool) -> str:
    seen = test_edges.crossed(name, np.random.default_rng(seed), works=works)
    return decisive(edges.effects_of(test_edges.fault_of(name), seen)).status


def claims(run: Run, each: int) -> Iterator[tuple[str, FaultRecord]]:
    """(kind and point, a fault that an injector claims and that did not happen): each kind on `each` targets."""
    phase = run.phase("before")
    if phase is None:
        return
    end_s = phase[1] - BACK_S  # so long a killed process is looked for
    start_s = end_s - CLAIMED_S
    draw = random.Random(run.name)
    instances = _names(run, "SELECT DISTINCT instance FROM spans WHERE kind = 'server'")
    processes = _names(
        run, "SELECT DISTINCT instance FROM metrics WHERE name IN ('up', 'probe_success')"
    )
    crossed = _names(
        run,
        "SELECT DISTINCT service || '->' || coalesce("
        "json_extract_string(attributes, '$.\"breakwater.peer.instance\"'), peer)"
        " FROM spans WHERE kind = 'client' AND peer IS NOT NULL",
    )

    def claimed(targets: list[str], kind: str, point: str) -> Iterator[FaultRecord]:
        for target in draw.sample(targets, min(each, len(targets))):
            yield FaultRecord(
                "claimed", kind, target, point, ttl_s=end_s - start_s + 1, commanded_s=start_s,
                effective_s=start_s + 0.1, removed_s=end_s, hits=30,
            )  # fmt: skip

    for (kind, point), (attributes, scope, _) in service_faults.FAULTS.items():
        real = {} if "route" in scope else scope  # the route is of the synthetic service
        for fault in claimed(instances, kind, point):
            yield f"{kind} at {point}", replace(fault, attributes=attributes, scope=real)
    for kind in KINDS:
        for fault in claimed(processes, kind, "process"):
            yield f"{kind} of a process", fault
    for name in test_edges.CASES:
        claim = test_edges.fault_of(name)
        for fault in claimed(crossed, claim.kind, "edge"):
            yield (
                f"{name} of an edge",
                replace(
                    fault, attributes=claim.attributes, scope=claim.scope, evidence=claim.evidence
                ),
            )


def _names(run: Run, query: str) -> list[str]:
    return sorted(str(name) for (name,) in run.sql(query).fetchall() if name)


def on_archives(folder: Path, each: int) -> int:
    """Prints how inert injectors are judged on real archives, by kind. 1 if one is confirmed or none judged."""
    counts: dict[str, Counter[str]] = {}
    wrong: list[str] = []
    paths = sorted(path.parent for path in folder.rglob("run.json"))
    for path in paths:
        run = Run(path)
        for name, fault in claims(run, each):
            judged = judge_fault(run, fault)
            counts.setdefault(name, Counter())[judged.status] += 1
            if judged.status == CONFIRMED:
                wrong.append(f"{path.name}: {name}: {judged}: {judged.why}")
    print(f"{'inert fault':48}{'confirmed mismatch inconclusive':>32}")
    for name, found in counts.items():
        print(f"{name:48}{_row(found):>32}")
    print(*wrong, sep="\n")
    total: Counter[str] = sum(counts.values(), Counter())
    print(f"{total.total()} claims on {len(paths)} archives: {total[CONFIRMED]} confirmed")
    return int(not total or total[CONFIRMED] > 0)


def on_synthetic() -> int:
    """Prints how inert and working injectors are judged, by kind. 1 if a kind fails."""
    failed = 0
    print(f"{'fault':48}{'inert: confirmed mismatch inconclusive':>40}{'working: the same':>30}")
    for name, inert, working in synthetic():
        wrong, right = Counter(inert), Counter(working)
        ok = not wrong[CONFIRMED] and right[CONFIRMED] >= CONFIRMED_MIN * len(working)
        failed += not ok
        row = f"{name:48}{_row(wrong):>40}{_row(right):>30}"
        print(row if ok else f"{row}  FAILED", flush=True)
    print(f"{failed} kinds failed")
    return int(failed > 0)


def _row(counts: Counter[str]) -> str:
    return " ".join(f"{counts[status]:5}" for status in (CONFIRMED, MISMATCH, INCONCLUSIVE))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--archives", type=Path, help="judge claims on the real runs below this folder"
    )
    parser.add_argument("--each", type=int, default=3, help="targets of each kind in an archive")
    given = parser.parse_args()
    if given.archives is None:
        return on_synthetic()
    return on_archives(given.archives, given.each)


if __name__ == "__main__":
    sys.exit(main())
