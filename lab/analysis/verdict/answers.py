"""The answers: of one limit (kept, broken, undecided), and of a run, with its exit code."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

HELD, DEVIATED, UNDECIDED, INVALID = "held", "deviated", "undecided", "invalid"
MEASURED = "measured"  # a load without limits: nothing was claimed
EXIT_CODES = {HELD: 0, MEASURED: 0, DEVIATED: 1, INVALID: 3, UNDECIDED: 4}


class Answer(StrEnum):
    """Where the interval of a value is: on the good side of its limit, on the bad side, or across it."""

    KEPT = "kept"
    BROKEN = "broken"
    UNDECIDED = "undecided"


def verdict_of(
    invalid: Sequence[str], broken: Sequence[str], undecided: Sequence[str], otherwise: str = HELD
) -> dict[str, Any]:
    """The verdict by the reasons for each, with its exit code: the first that has a reason, else `otherwise`."""
    verdict = INVALID if invalid else DEVIATED if broken else UNDECIDED if undecided else otherwise
    return {
        "verdict": verdict,
        "exit_code": EXIT_CODES[verdict],
        "reasons": invalid or broken or undecided,
        "undecided": undecided,
    }
