"""Answers all limits of a run together, so that the confidence is that of the whole run."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Protocol, TypeVar

from lab.analysis.intervals import CONFIDENCE, holm
from lab.analysis.verdict.answers import Answer


class Answered(Protocol):
    """The answer of a limit, at some confidence."""

    @property
    def answer(self) -> Answer: ...


Result = TypeVar("Result", bound=Answered, covariant=True)


class Limit(Protocol[Result]):
    """A limit and its data, which can be compared at any confidence."""

    def at(self, confidence: float) -> Result: ...


def answer_together(
    limits: Sequence[Limit[Result]], confidence: float = CONFIDENCE
) -> list[Result]:
    """The result of each limit. With probability `confidence` no limit is wrongly kept or broken (Holm)."""

    @cache
    def at(i: int, level: float) -> Result:
        return limits[i].at(level)

    levels = holm(
        lambda i, level: at(i, level).answer != Answer.UNDECIDED, len(limits), confidence=confidence
    )
    return [at(i, level) for i, level in enumerate(levels)]
