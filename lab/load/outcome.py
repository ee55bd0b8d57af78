"""The outcome of an attempt, in two vocabularies that must not be mixed: availability and history.

Availability (`requests.outcome`). `ok`: the shopper got a proper answer; a refusal for a business
reason (declined card, sold out) is a proper answer, and so is one that the shopper provoked. `fail`:
no proper answer, and the operation definitely did not happen. `unknown`: no proper answer, and it may
have happened or may still happen.

History (`history.type`, Jepsen's words): whether the operation took place. There the same refusal
is a `fail`: the order definitely was not placed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

REFUSALS = frozenset({402, 409})  # the shop works and refuses


def attempt_outcome(method: str, status: int, body: Any, headers: Mapping[str, str]) -> str:
    """`ok`, `fail` or `unknown` of an attempt that was answered with `status`."""
    if status < 400:
        return "ok"
    if status == 409 and headers.get("retry-after"):
        return "unknown"  # the first request with this key still runs: its result is open
    if status in REFUSALS:
        return "ok"
    if status < 500 or method == "GET":
        return "fail"
    # a service that has certainly not done the work sets `definite` in its problem answer
    definite = isinstance(body, dict) and body.get("definite") is True
    return "fail" if definite else "unknown"


def broken_outcome(error: BaseException) -> str:
    """`fail` or `unknown` of an attempt without an answer; `unknown` if the request may have arrived."""
    return "fail" if isinstance(error, ConnectionRefusedError) else "unknown"


def history_type(outcome: str, status: int) -> str:
    """`ok`, `fail` (definitely did not happen) or `info` (unknown) of an operation."""
    if outcome == "unknown":
        return "info"
    if outcome == "fail" or status in REFUSALS:
        return "fail"
    return "ok"
