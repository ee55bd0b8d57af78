"""The probes' own customer: sends real requests through nginx, one at a time."""

from __future__ import annotations

import contextlib
import itertools
import math
import secrets
import threading
from collections.abc import Callable
from typing import Any

from lab.http_client import NoReplyError, Reply, exchange
from lab.load.accounts import ACCOUNTS, PASSWORD, email_of

EMAIL = email_of(ACCOUNTS)  # the load never uses the last account
CARD = "4242424242424242"
TIMEOUT_S = 10.0
JOURNEYS = ("browse", "browse_rare", "order")


class UnservedError(Exception):
    """The customer did not get a proper answer."""


class Customer:
    """Logs in at the first use and again after a refused token. Safe to share between threads."""

    def __init__(self, ingress_url: str) -> None:
        self._url = ingress_url
        self._token = ""
        self._lock = threading.Lock()
        self._skus = itertools.count(1)

    def browse(self) -> Reply:
        """Opens a product's page."""
        return self._served(self._page(self._sku()))

    def browse_rare(self) -> Reply:
        """Opens the page of a product that shoppers hardly ever see, so that no cache has it."""
        return self._served(self._page(self._rare_sku()))

    def order(self, sku: str = "", card: str = CARD) -> Reply:
        """Places an order of one piece. 201, 202 and a refusal (402, 409) are proper answers."""
        return self._served(self._order(sku, card), refusals=(402, 409))

    def any_answer(self, journey: str) -> Reply:
        """One visit of this kind; returns any answer, also an error. Raises NoReplyError, ValueError."""
        self.visit(journey)
        if journey == "order":
            return self._order("", CARD)
        return self._page(self._sku() if journey == "browse" else self._rare_sku())

    def sign_in(self) -> Reply:
        """Logs in again and lists the customer's orders."""
        self._session(fresh=True)
        return self.own_orders()

    def _order(self, sku: str, card: str) -> Reply:
        body = {
            "lines": [{"sku": sku or self._sku(), "quantity": 1}],
            "payment": {"card_number": card},
        }
        headers = {"Idempotency-Key": f"probe-{secrets.token_hex(8)}"}
        return self._signed_in("POST", "/api/orders", body=body, headers=headers)

    def cancel(self, order_id: str) -> Reply:
        """Cancels an order: 200 at once, 202 while the saga cancels it."""
        headers = {"Idempotency-Key": f"probe-{secrets.token_hex(8)}"}
        path = f"/api/orders/{order_id}/cancel"
        return self._served(self._signed_in("POST", path, body={}, headers=headers))

    def own_orders(self) -> Reply:
        """Lists the customer's orders."""
        return self._served(self._signed_in("GET", "/api/orders"))

    def own_order(self, order_id: str) -> Reply:
        """Reads one of the customer's orders, with its payment and mails."""
        return self._served(self._signed_in("GET", f"/api/orders/{order_id}"))

    def visit(self, journey: str) -> Callable[[], Reply]:
        """The function for one visit of this kind. Raises ValueError."""
        if journey not in JOURNEYS:
            raise ValueError(f"no journey {journey!r}: expected {', '.join(JOURNEYS)}")
        return {"browse": self.browse, "browse_rare": self.browse_rare, "order": self.order}[
            journey
        ]

    def sample(self, journey: str, count: int) -> tuple[list[float], int]:
        """(seconds of the served visits, number of the unserved ones) of `count` visits in sequence."""
        visit = self.visit(journey)
        seconds: list[float] = []
        for _ in range(count):
            with contextlib.suppress(UnservedError, NoReplyError):
                seconds.append(visit().seconds)
        return seconds, count - len(seconds)

    def _sku(self) -> str:
        return f"SKU-{1 + next(self._skus) % 1000:04d}"

    def _rare_sku(self) -> str:
        """From the end of the catalogue: shoppers choose by Zipf's law."""
        return f"SKU-{1000 - next(self._skus) % 1000:04d}"

    def _page(self, sku: str) -> Reply:
        return exchange("GET", f"{self._url}/api/products/{sku}", timeout_s=TIMEOUT_S)

    def _signed_in(self, method: str, path: str, **content: Any) -> Reply:
        for fresh in (False, True):
            token = self._session(fresh)
            reply = exchange(method, self._url + path, token=token, timeout_s=TIMEOUT_S, **content)
            if reply.status != 401:
                break
        return reply

    def _session(self, fresh: bool) -> str:
        with self._lock:
            if fresh or not self._token:
                body = {"email": EMAIL, "password": PASSWORD}
                reply = exchange("POST", f"{self._url}/api/login", body=body, timeout_s=TIMEOUT_S)
                self._token = self._served(reply).body["access_token"]
            return self._token

    def _served(self, reply: Reply, refusals: tuple[int, ...] = ()) -> Reply:
        if reply.status >= 400 and reply.status not in refusals:
            title = reply.body.get("title") if isinstance(reply.body, dict) else reply.body
            raise UnservedError(f"answered {reply.status} ({title}) after {reply.seconds:.2f} s")
        return reply


def quantile(values: list[float], q: float) -> float:
    """The value at rank ceil(q n): a value of the sample, never interpolated."""
    return sorted(values)[max(0, math.ceil(q * len(values)) - 1)]
