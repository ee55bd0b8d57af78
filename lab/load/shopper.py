"""A logged-in shopper: one seeded account, its token, and the orders it may come back for."""

from __future__ import annotations

from collections import deque
from random import Random

from gevent.lock import Semaphore

from lab.load.request_log import now_s
from lab.load.storefront import Storefront

ACCOUNTS = 500  # seeded by the users service: user001@example.com ... user500@example.com
PASSWORD = "correct-horse-breakwater"  # of every seeded account, in lab mode only
RENEW_BEFORE_S = 60.0
ORDERS_REMEMBERED = 20


class NotLoggedInError(Exception):
    """The shop did not let the shopper in; the errand cannot be done."""


class Shopper:
    """Logs in once and keeps the token; renews it a minute before it expires."""

    def __init__(self, account_no: int) -> None:
        self.name = f"user{account_no:03d}"
        self.email = f"{self.name}@example.com"
        self.order_ids: deque[str] = deque(maxlen=ORDERS_REMEMBERED)
        self._access = ""
        self._refresh = ""
        self._good_until_s = 0.0
        # many errands share a shopper: only the first one logs in, the others wait for it
        self._entering = Semaphore()

    def token(self, store: Storefront) -> str:
        """A token that is good for at least a minute. Raises NotLoggedInError."""
        if now_s() < self._good_until_s:
            return self._access
        with self._entering:
            if now_s() >= self._good_until_s:
                self._enter(store)
            return self._access

    def forget_token(self) -> None:
        """The shop refused the token: log in again next time."""
        self._good_until_s = 0.0
        self._refresh = ""

    def _enter(self, store: Storefront) -> None:
        path, body = "/api/login", {"email": self.email, "password": PASSWORD}
        if self._refresh:
            path, body = "/api/refresh", {"refresh_token": self._refresh}
        start_s = now_s()
        answer = store.call(
            "POST",
            path,
            path,
            session=self.name,
            logical_id=store.log.new_logical_id(),
            intended_s=start_s,
            body=body,
        )
        if answer.status != 200 or not isinstance(answer.body, dict):
            self._refresh = ""  # next time with the password
            raise NotLoggedInError(f"{path} of {self.email}: {answer.error or answer.status}")
        self._access = str(answer.body["access_token"])
        self._refresh = str(answer.body.get("refresh_token") or "")
        self._good_until_s = start_s + float(answer.body["expires_in_s"]) - RENEW_BEFORE_S


def make_shoppers(sessions: int, seed: int) -> list[Shopper]:
    """`sessions` different seeded accounts, chosen by the seed (the last account is the probes')."""
    numbers = Random(f"{seed}:shoppers").sample(range(1, ACCOUNTS), sessions)
    return [Shopper(number) for number in sorted(numbers)]
