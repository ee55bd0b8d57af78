"""Hedge: sends a second copy of a slow, idempotent call, and returns the first answer."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from .budget import RetryBudget
from .checks import at_least, positive, share
from .clock import SYSTEM_CLOCK, Clock
from .errors import CallError
from .events import Listener
from .policy import Attempt, Call, Switchable, T


class Hedge(Switchable):
    """Starts another copy every `delay_s`, up to `copies_max` in total, and returns the first success.

    Only for idempotent calls; others run once. With `quantile` the delay is that quantile of the
    last 200 latencies (`delay_s` until 20 are known): at q the extra load is 1 - q (Dean and Barroso,
    The Tail at Scale, 2013). With `budget` each copy costs a token, so that hedging stops when all
    calls are slow. If all copies fail, the last error is raised. The other copies are cancelled.
    """

    kind: ClassVar[str] = "hedge"

    def __init__(
        self,
        delay_s: float = 0.1,
        *,
        quantile: float | None = None,
        copies_max: int = 2,
        budget: RetryBudget | None = None,
        clock: Clock = SYSTEM_CLOCK,
        listener: Listener | None = None,
    ) -> None:
        self.delay_s = positive("delay_s", delay_s)
        self.quantile = None if quantile is None else share("quantile", quantile)
        self.copies_max = at_least("copies_max", copies_max, 2)
        self.budget = budget
        self.clock = clock
        self.listener = listener
        self.hedged = 0
        self.won = 0
        self._latencies: list[float] = []
        self._answers = 0
        self._losers: set[asyncio.Task[Any]] = set()  # a task without a reference may be collected

    async def run(self, attempt: Attempt[T], call: Call) -> T:  # noqa: C901 - one race, one scope
        if not call.idempotent:
            return await attempt(call)
        started = self.clock.monotonic()
        copies: dict[asyncio.Task[T], int] = {}
        wake = asyncio.Event()

        def start(number: int) -> None:
            own = call if number == 1 else call.copy()
            task = asyncio.ensure_future(_run(attempt, own))
            task.add_done_callback(lambda _: wake.set())
            copies[task] = number

        timer = None
        due = False
        maybe_happened = False

        def delay_over() -> None:
            nonlocal due  # not computed from the clock: a timer of the event loop may fire early
            due = True
            wake.set()

        try:
            start(1)
            launched = 1
            while True:
                may_launch = launched < self.copies_max
                if may_launch and timer is None:
                    timer = self.clock.call_later(self.delay_s, delay_over)
                await wake.wait()
                wake.clear()
                for task in [task for task in copies if task.done()]:
                    number = copies.pop(task)
                    error = task.exception()
                    if error is None:
                        self._count_answer(call, number, self.clock.monotonic() - started)
                        return task.result()
                    if not copies:
                        if maybe_happened and isinstance(error, CallError):
                            error.definite = False
                        raise error
                    maybe_happened = maybe_happened or not getattr(error, "definite", False)
                if may_launch and due:
                    timer, due = None, False
                    if self._may_hedge(call):
                        launched += 1
                        start(launched)
                    else:
                        launched = self.copies_max
        finally:
            if timer is not None:
                timer.cancel()
            for task in copies:
                self._losers.add(task)
                task.add_done_callback(self._forget_loser)
                task.cancel()

    def _forget_loser(self, loser: asyncio.Task[Any]) -> None:
        self._losers.discard(loser)
        if not loser.cancelled():
            loser.exception()  # read, so that asyncio does not warn

    def _may_hedge(self, call: Call) -> bool:
        granted = self.budget is None or self.budget.try_spend()
        if granted:
            self.hedged += 1
        reason = "started" if granted else "budget"
        self._report(call.edge, "hedge", reason=reason, wait_s=self.delay_s)
        return granted

    def _count_answer(self, call: Call, number: int, latency_s: float) -> None:
        if self.budget is not None:
            self.budget.deposit()
        if number > 1:
            self.won += 1
            self._report(call.edge, "hedge", reason="won", wait_s=self.delay_s)
        if self.quantile is not None:
            if len(self._latencies) < 200:
                self._latencies.append(latency_s)
            else:
                self._latencies[self._answers % 200] = latency_s
            self._answers += 1
            if self._answers % 20 == 0:
                ranked = sorted(self._latencies)
                rank = min(len(ranked) - 1, int(self.quantile * len(ranked)))
                self.delay_s = max(1e-3, ranked[rank])

    def _live(self) -> dict[str, object]:
        return {"delay_s": round(self.delay_s, 6), "hedged": self.hedged, "won": self.won}


async def _run(attempt: Attempt[T], call: Call) -> T:
    return await attempt(call)
