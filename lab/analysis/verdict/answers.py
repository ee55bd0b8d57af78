"""The answers: of one limit (kept, broken, undecided), and of a run with the exit code of each verdict."""

from __future__ import annotations

from enum import StrEnum

HELD, DEVIATED, UNDECIDED, INVALID = "held", "deviated", "undecided", "invalid"
EXIT_CODES = {HELD: 0, DEVIATED: 1, INVALID: 3, UNDECIDED: 4}


class Answer(StrEnum):
    """Where the interval of a value is: on the good side of its limit, on the bad side, or across it."""

    KEPT = "kept"
    BROKEN = "broken"
    UNDECIDED = "undecided"
