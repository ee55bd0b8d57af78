"""A logged-in shopper: one seeded account, its token and its latest orders."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from random import Random
from typing import Any

from gevent.lock import Semaphore

from lab.load.accounts import ACCOUNTS, PASSWORD, email_of
from lab.load.request_log import now_s
from lab.load.storefront import Request, Storefront

RENEW_BEFORE_S = 60.0
ORDERS_REMEMBERED = 20


class NotLoggedInError(Exception):
    """The log-in failed, so the shopper's task cannot run."""


@dataclass
class Placed:
    """An order of a shopper, as acknowledged: its id, the key and the body that placed it."""

    order_id: str
    key: str
    body: Any
    cancelled: bool = False


class Shopper:
    """Logs in once and keeps the token; renews it one minute before it expires."""

    def __init__(self, account_no: int) -> None:
        self.name = f"user{account_no:03d}"
        self.email = email_of(account_no)
        self.orders: deque[Placed] = deque(maxlen=ORDERS_REMEMBERED)
        self._access = ""
        self._refresh = ""
        self._valid_until_s = 0.0
        # many tasks share a shopper: the first one logs in, the others wait for it
        self._logging_in = Semaphore()

    def token(self, store: Storefront) -> str:
        """A token that is valid for at least a minute. Raises NotLoggedInError."""
        if now_s() < self._valid_until_s:
            return self._access
        with self._logging_in:
            if now_s() >= self._valid_until_s:
                self._log_in(store)
            return self._access

    def forget_token(self) -> None:
        """For a token that the shop refused: the next call of `token` logs in again."""
        self._valid_until_s = 0.0
        self._refresh = ""

    def _log_in(self, store: Storefront) -> None:
        path, body = "/api/login", {"email": self.email, "password": PASSWORD}
        if self._refresh:
            path, body = "/api/refresh", {"refresh_token": self._refresh}
        start_s = now_s()
        request = Request("POST", path, path, body, logical_id=store.log.new_logical_id())
        answer = store.send(request, self.name, start_s)
        if answer.status != 200 or not isinstance(answer.body, dict):
            self._refresh = ""  # the next log-in uses the password
            raise NotLoggedInError(f"{path} of {self.email}: {answer.error or answer.status}")
        self._access = str(answer.body["access_token"])
        self._refresh = str(answer.body.get("refresh_token") or "")
        self._valid_until_s = start_s + float(answer.body["expires_in_s"]) - RENEW_BEFORE_S


def make_shoppers(sessions: int, seed: int) -> list[Shopper]:
    """`sessions` different seeded accounts, chosen by the seed; the last account belongs to the probes."""
    numbers = Random(f"{seed}:shoppers").sample(range(1, ACCOUNTS), sessions)
    return [Shopper(number) for number in sorted(numbers)]
