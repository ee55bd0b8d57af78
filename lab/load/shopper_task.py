"""One task of one shopper: its requests, and the records of its operations in the history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import gevent

from lab.load.outcome import history_type
from lab.load.request_log import now_s
from lab.load.shopper import Shopper
from lab.load.storefront import Answer, Request, Storefront

ATTEMPTS_MAX = 3  # a POST with an unknown outcome is repeated twice, with the same key
BACKOFF_S = 0.5


def longest_s(timeout_s: float) -> float:
    """The longest time of an operation with all its attempts and the waits between them."""
    return ATTEMPTS_MAX * timeout_s + BACKOFF_S * sum(range(ATTEMPTS_MAX))


@dataclass
class ShopperTask:
    """`rng` makes the choices, `intended_s` is when the shopper was due, `shoppers` are all shoppers."""

    store: Storefront
    shopper: Shopper
    rng: Random
    intended_s: float
    shoppers: Sequence[Shopper] = ()

    def send(
        self, request: Request, *, signed_in: bool = False, intended_s: float | None = None
    ) -> Answer:
        """One attempt. After a refused token (401) the next task logs in again."""
        token = self.shopper.token(self.store) if signed_in else None
        if not request.logical_id:
            request = replace(request, logical_id=self.store.log.new_logical_id())
        intended_s = self.intended_s if intended_s is None else intended_s
        answer = self.store.send(request, self.shopper.name, intended_s, token)
        if answer.status == 401 and signed_in:
            self.shopper.forget_token()
        return answer

    def operation(self, f: str, request: Request) -> Answer:
        """An operation on an order, with its history; a POST is repeated while its outcome is unknown.

        All attempts have one Idempotency-Key. A repeat's intended start is the end of its backoff,
        so the waits between attempts count for the logical request, not for the attempt.
        """
        log = self.store.log
        logical_id = request.logical_id or log.new_logical_id()
        key = logical_id if request.method == "POST" else None
        request = replace(request, logical_id=logical_id, key=key)
        # each operation is a process of the history
        process = f"{self.shopper.name}/{logical_id}"
        record = {"process": process, "f": f, "key": request.order_id or logical_id}
        token_ready = self.shopper.token(self.store)  # the log-in is not part of the operation
        assert token_ready
        log.operation(type="invoke", value=request.body, **record)
        due_s: float | None = None
        for attempt_no in range(1, ATTEMPTS_MAX + 1):
            attempt = replace(request, attempt_no=attempt_no)
            answer = self.send(attempt, signed_in=True, intended_s=due_s)
            if answer.outcome != "unknown" or key is None or attempt_no == ATTEMPTS_MAX:
                break
            gevent.sleep(BACKOFF_S * attempt_no)
            due_s = now_s()
        log.operation(
            type=history_type(answer.outcome, answer.status),
            value=_order_in(answer),
            error=answer.error,
            **record,
        )
        return answer


def _order_in(answer: Answer) -> dict[str, Any]:
    """The facts about the order in the answer."""
    body = answer.body if isinstance(answer.body, dict) else {}
    facts = {name: body[name] for name in ("status", "version", "total_cents") if name in body}
    if answer.status >= 400:
        facts.pop("status", None)  # a problem's status is HTTP's, not the order's
    return {"order_id": answer.order_id, "http_status": answer.status, **facts}
