"""Retry: repeats a failed call after a growing, jittered pause, within a budget and the deadline."""

from __future__ import annotations

import math
import random
from typing import ClassVar

from .budget import RetryBudget
from .checks import at_least, not_negative, positive
from .clock import SYSTEM_CLOCK, Clock
from .errors import CallError, label
from .events import Listener
from .policy import Attempt, Call, Switchable, T


class Retry(Switchable):
    """Makes up to `max_attempts` attempts in total.

    It retries an error that is `retryable`, if the call is idempotent or the error is definite.
    Exceptions in `retry_on` count as retryable and indefinite. The pause before attempt i + 1 is
    uniform in [0, min(backoff_cap_s, backoff_base_s 2^(i-1))] (full jitter, AWS Architecture Blog
    2015), added to the error's `retry_after_s`.

    It gives up and raises the last error if no attempt is left, a repetition is not safe, the
    deadline would pass during the pause, the budget is spent, or the requested wait is longer than
    `retry_after_s_max`: then the caller gets the error at once. A definite last error becomes
    indefinite if an earlier attempt may have happened.
    """

    kind: ClassVar[str] = "retry"

    def __init__(
        self,
        max_attempts: int = 3,
        *,
        backoff_base_s: float = 0.05,
        backoff_cap_s: float = 1.0,
        retry_after_s_max: float | None = None,
        rng: random.Random | None = None,
        budget: RetryBudget | None = None,
        retry_on: tuple[type[Exception], ...] = (),
        clock: Clock = SYSTEM_CLOCK,
        listener: Listener | None = None,
    ) -> None:
        self.max_attempts = at_least("max_attempts", max_attempts, 1)
        self.backoff_base_s = not_negative("backoff_base_s", backoff_base_s)
        self.backoff_cap_s = positive("backoff_cap_s", backoff_cap_s)
        self.retry_after_s_max = (
            math.inf
            if retry_after_s_max is None
            else not_negative("retry_after_s_max", retry_after_s_max)
        )
        self.rng = rng or random.Random()
        self.budget = budget
        self.retry_on = retry_on
        self.clock = clock
        self.listener = listener
        self.retried = 0
        self.gave_up = 0
        self._catch: tuple[type[Exception], ...] = (CallError, *retry_on)

    async def run(self, attempt: Attempt[T], call: Call) -> T:
        budget = self.budget
        if budget is not None and call.disabled is not None and "budget" in call.disabled:
            budget = None  # the profile `retries` has no budget
        number = 1
        maybe_happened = False
        while True:
            call.attempt = number
            try:
                answer = await attempt(call)
            except self._catch as error:
                requested_s = getattr(error, "retry_after_s", None) or 0.0
                wait_s = requested_s + self._backoff_s(number)
                reason = self._refusal(error, call, number, wait_s, budget)
                maybe_happened = maybe_happened or not getattr(error, "definite", False)
                if reason:
                    if maybe_happened and isinstance(error, CallError):
                        error.definite = False
                    self.gave_up += 1
                    self._report(call.edge, "give_up", reason=reason, attempt=number)
                    raise
                cause = label(error)
            else:
                if budget is not None:
                    budget.deposit()
                return answer
            number += 1
            self.retried += 1
            self._report(call.edge, "attempt", reason=cause, attempt=number, wait_s=wait_s)
            await self.clock.sleep(wait_s)

    def _backoff_s(self, number: int) -> float:
        ceiling = self.backoff_base_s * 2.0 ** min(number - 1, 60)
        return self.rng.random() * min(self.backoff_cap_s, ceiling)

    def _refusal(
        self, error: Exception, call: Call, number: int, wait_s: float, budget: RetryBudget | None
    ) -> str:
        """Why this failure is not retried; "" if it is retried, and then the budget has paid for it."""
        retryable = getattr(error, "retryable", False) or isinstance(error, self.retry_on)
        if not retryable:
            return "not_retryable"
        if not (call.idempotent or getattr(error, "definite", False)):
            return "not_idempotent"
        if number >= self.max_attempts:
            return "attempts"
        if (getattr(error, "retry_after_s", None) or 0.0) > self.retry_after_s_max:
            return "retry_after"
        if call.deadline is not None and self.clock.monotonic() + wait_s >= call.deadline:
            return "deadline"
        if budget is not None and not budget.try_spend():
            return "budget"
        return ""

    def _live(self) -> dict[str, object]:
        live: dict[str, object] = {
            "max_attempts": self.max_attempts,
            "retried": self.retried,
            "gave_up": self.gave_up,
        }
        if self.budget is not None:
            live["budget_tokens"] = round(self.budget.tokens, 3)
        return live
