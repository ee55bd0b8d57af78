"""Judges every kind of fault with inert and with working injectors, on synthetic archives with noise.

`make verify-faults`. It fails if an inert injector is confirmed, or fewer than 95% of the working ones are.
A mechanism is one entry of MECHANISMS: a function that judges n inert and m working injectors of a kind.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from lab.analysis.fault_evidence.judged import CONFIRMED, INCONCLUSIVE, MISMATCH, Judged
from tests.lab.analysis.fault_evidence import service_faults

INERT, WORKING = 200, 20
CONFIRMED_MIN = 0.95
Key = tuple[str, str]  # kind, point
Judge = Callable[[Path, Key, int, int], tuple[list[Judged], list[Judged]]]


def inside_services(
    path: Path, key: Key, inert: int, working: int
) -> tuple[list[Judged], list[Judged]]:
    return service_faults.judged(path, {key: (inert, working)})[key]


MECHANISMS: list[tuple[Iterable[Key], Judge]] = [(service_faults.FAULTS, inside_services)]


def main() -> int:
    failed = 0
    print(f"{'fault':28}{'inert: confirmed mismatch inconclusive':>40}{'working: the same':>40}")
    for keys, judge in MECHANISMS:
        for key in keys:
            with tempfile.TemporaryDirectory() as folder:
                inert, working = judge(Path(folder) / "run", key, INERT, WORKING)
            wrong, right = _count(inert), _count(working)
            ok = not wrong[CONFIRMED] and right[CONFIRMED] >= CONFIRMED_MIN * len(working)
            failed += not ok
            print(
                f"{' at '.join(key):28}{_row(wrong):>40}{_row(right):>40}{'' if ok else '  FAILED'}"
            )
    print(f"{failed} kinds failed")
    return 1 if failed else 0


def _count(found: list[Judged]) -> Counter[str]:
    return Counter(each.status for each in found)


def _row(counts: Counter[str]) -> str:
    return " ".join(f"{counts[status]:5}" for status in (CONFIRMED, MISMATCH, INCONCLUSIVE))


if __name__ == "__main__":
    sys.exit(main())
