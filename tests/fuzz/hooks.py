"""Loaded by Schemathesis: the customers' tokens, and values of a format that only this API has."""

import os
from itertools import count
from typing import Any

import schemathesis
from hypothesis import strategies

from chassis.http.paging import encode_cursor
from lab.http_client import exchange

API = os.environ["FUZZ_API"]
CUSTOMER = {"email": "user001@example.com", "password": "correct-horse-breakwater"}
ENDING = ("DELETE /api/me", "POST /api/logout")
NUMBERS = count(1)
CURSORS = strategies.sampled_from(["", encode_cursor("SKU-0001"), encode_cursor("SKU-0990")])
schemathesis.openapi.format("cursor", CURSORS)


def log_in(account: dict[str, str]) -> str:
    return str(exchange("POST", f"{API}/login", body=account).body["access_token"])


def register() -> dict[str, str]:
    """The address and the password of a new customer."""
    number = next(NUMBERS)
    account = {"email": f"fuzz{number}@example.com", "password": f"a passphrase {number}"}
    key = {"Idempotency-Key": str(number)}
    exchange("POST", f"{API}/users", body={**account, "name": "Ann"}, headers=key)
    return account


TOKEN = log_in(CUSTOMER)


@schemathesis.auth(refresh_interval=None)
class Tokens:
    """One customer for all requests, except that those which end a session have one each."""

    def get(self, case: Any, context: Any) -> str:
        return log_in(register()) if case.operation.label in ENDING else TOKEN

    def set(self, case: Any, token: str, context: Any) -> None:
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {token}"}
