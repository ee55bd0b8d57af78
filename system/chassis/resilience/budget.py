"""Retry budget: limits retries to a small share of the successes."""

from __future__ import annotations

from typing import ClassVar

from .checks import not_negative, positive


class RetryBudget:
    """A token bucket: a success deposits `deposit`, a retry (or hedge) costs 1.

    It starts full, so retries <= capacity + deposit x successes at any time. In a total outage the
    extra load ends after `capacity` retries; in normal operation it stays below `deposit` (0.1 = 10%).
    While `enabled` is False, it allows every retry and counts nothing. All callers of a dependency in
    a process should share one budget.
    """

    kind: ClassVar[str] = "budget"

    def __init__(self, capacity: float = 10.0, deposit: float = 0.1) -> None:
        self.capacity = positive("capacity", capacity)
        self.deposit_share = not_negative("deposit", deposit)
        self.tokens = self.capacity
        self.enabled = True

    def deposit(self) -> None:
        """Count one success."""
        if not self.enabled:
            return
        tokens = self.tokens + self.deposit_share
        self.tokens = tokens if tokens < self.capacity else self.capacity

    def try_spend(self) -> bool:
        """Take one token for one retry; False when less than one is left."""
        if not self.enabled:
            return True
        # Ten deposits of 0.1 add up to 0.9999999999999999, and must pay for one retry.
        if self.tokens < 1.0 - 1e-9:
            return False
        self.tokens = max(0.0, self.tokens - 1.0)
        return True
