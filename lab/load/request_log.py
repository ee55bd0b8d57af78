"""Writes `requests.ndjson` and `history.ndjson`: every attempt and every operation on an order."""

from __future__ import annotations

import itertools
import json
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.load.row_file import RowFile

# One clock for all times of a load: it starts as the wall clock and runs as the monotonic clock.
_EPOCH_S = time.time() - time.perf_counter()


def now_s() -> float:
    """Seconds since the epoch; never runs backwards within the process."""
    return _EPOCH_S + time.perf_counter()


@dataclass(frozen=True)
class Attempt:
    """One row of requests.ndjson (docs/archive.md), as the shopper saw the attempt.

    `route` has the method before the path's template. An arrival that was never sent keeps the
    defaults: to the shopper it is a failure. `asked` and `seen`: facts.py.
    """

    session: str
    route: str
    method: str
    logical_id: str
    intended_start_s: float
    attempt_no: int = 1
    actual_start_s: float | None = None
    end_s: float | None = None
    status: int = 0
    outcome: str = "fail"
    error: str | None = None
    request_id: str | None = None
    idempotency_key: str | None = None
    order_id: str | None = None
    bytes: int | None = None
    version: int | None = None
    expected: int | None = None  # the refusal that this request must get
    asked: dict[str, Any] | None = None
    seen: dict[str, Any] | None = None
    dropped: bool = False  # not sent because too many requests were in flight


class RequestLog:
    """Writes attempts and operations to the run directory. Without one it only counts."""

    def __init__(self, run_dir: Path | None, arm: str = "control") -> None:
        self._requests = RowFile(run_dir / "requests.ndjson") if run_dir else None
        self._history = RowFile(run_dir / "history.ndjson") if run_dir else None
        self._arm = arm
        self.rows = {"requests": 0, "history": 0}  # written so far
        self._logical = itertools.count()
        # keys must be new although the seed repeats: the shop remembers them
        self._salt = secrets.token_hex(6)
        self.attempts = 0
        self.dropped = 0

    def new_logical_id(self) -> str:
        """The id of one logical request; its attempts share it, and it is their idempotency key."""
        return f"{self._salt}-{next(self._logical):06d}"

    def record(self, attempt: Attempt) -> None:
        self.attempts += attempt.actual_start_s is not None
        self.dropped += attempt.dropped
        if self._requests:
            row = {"seq": self.rows["requests"], "arm": self._arm, **vars(attempt)}
            self._requests.append(row)
            self.rows["requests"] += 1

    def operation(
        self, *, process: str, type: str, f: str, key: str, value: Any, error: str | None = None
    ) -> None:
        """One line of the order history: `type` invoke, ok, fail or info; `f` place, read, cancel."""
        if self._history:
            self._history.append(
                {
                    "seq": self.rows["history"],
                    "process": process,
                    "type": type,
                    "f": f,
                    "key": key,
                    "value": json.dumps(value, separators=(",", ":")),
                    "time_s": now_s(),
                    "error": error,
                }
            )
            self.rows["history"] += 1

    def flush(self) -> None:
        for file in (self._requests, self._history):
            if file:
                file.flush()

    def close(self) -> None:
        for file in (self._requests, self._history):
            if file:
                file.close()
