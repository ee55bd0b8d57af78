"""One errand of one shopper: what it carries, and how an operation on an order is told to history."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

import gevent

from lab.load.outcome import history_type
from lab.load.request_log import now_s
from lab.load.shopper import Shopper
from lab.load.storefront import Answer, Storefront

ATTEMPTS_MAX = 3  # an order whose fate is unknown is asked for again, with the same key, twice
BACKOFF_S = 0.5


def longest_s(timeout_s: float) -> float:
    """How long an operation may take with all its attempts and the waits between them."""
    return ATTEMPTS_MAX * timeout_s + BACKOFF_S * sum(range(ATTEMPTS_MAX))


@dataclass
class ShopperTask:
    """`rng` makes the choices, `intended_s` is when the shopper meant to come."""

    store: Storefront
    shopper: Shopper
    rng: Random
    intended_s: float

    def send(
        self,
        method: str,
        path: str,
        route: str,
        *,
        logical_id: str = "",
        attempt_no: int = 1,
        body: Any = None,
        key: str | None = None,
        signed_in: bool = False,
        order_id: str | None = None,
        intended_s: float | None = None,
    ) -> Answer:
        """One attempt; a refused token is forgotten, so that the next errand logs in again."""
        token = self.shopper.token(self.store) if signed_in else None
        answer = self.store.call(
            method,
            path,
            route,
            session=self.shopper.name,
            logical_id=logical_id or self.store.log.new_logical_id(),
            intended_s=self.intended_s if intended_s is None else intended_s,
            attempt_no=attempt_no,
            body=body,
            key=key,
            token=token,
            order_id=order_id,
        )
        if answer.status == 401 and signed_in:
            self.shopper.forget_token()
        return answer

    def operation(
        self, f: str, method: str, path: str, route: str, body: Any = None, **about: Any
    ) -> Answer:
        """An operation on an order, told to history; a POST is repeated while its fate is unknown.

        All attempts carry one Idempotency-Key. A repeat's intended start is when its turn came, so
        the waiting between attempts shows in the logical request, not in the attempt.
        """
        log = self.store.log
        logical_id = log.new_logical_id()
        order_id = about.get("order_id")
        process = f"{self.shopper.name}/{logical_id}"  # an errand is a process of its own
        told = {"process": process, "f": f, "key": order_id or logical_id}
        token_ready = self.shopper.token(self.store)  # logging in is no part of the operation
        assert token_ready
        log.operation(type="invoke", value=body, **told)
        key = logical_id if method == "POST" else None
        turn_s: float | None = None
        for attempt_no in range(1, ATTEMPTS_MAX + 1):
            answer = self.send(
                method, path, route, logical_id=logical_id, attempt_no=attempt_no, body=body,
                key=key, signed_in=True, order_id=order_id, intended_s=turn_s,
            )  # fmt: skip
            if answer.outcome != "unknown" or key is None or attempt_no == ATTEMPTS_MAX:
                break
            gevent.sleep(BACKOFF_S * attempt_no)
            turn_s = now_s()
        log.operation(
            type=history_type(answer.outcome, answer.status),
            value=_seen(answer),
            error=answer.error,
            **told,
        )
        return answer


def _seen(answer: Answer) -> dict[str, Any]:
    """What the shopper learned about the order from the answer."""
    body = answer.body if isinstance(answer.body, dict) else {}
    seen = {name: body[name] for name in ("status", "version", "total_cents") if name in body}
    if answer.status >= 400:
        seen.pop("status", None)  # a problem's status is HTTP's, not the order's
    return {"order_id": answer.order_id, "http_status": answer.status, **seen}
