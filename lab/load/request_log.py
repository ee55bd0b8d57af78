"""The run's `requests.ndjson` and `history.ndjson`: every attempt and every operation on an order."""

from __future__ import annotations

import itertools
import json
import secrets
import time
from pathlib import Path
from typing import Any

from lab.load.row_file import RowFile

# One clock for all times of a load: the wall clock's start, the monotonic clock's steps.
_EPOCH_S = time.time() - time.perf_counter()


def now_s() -> float:
    """Seconds since the epoch; never runs backwards while the process lives."""
    return _EPOCH_S + time.perf_counter()


class RequestLog:
    """Rows in the columns of docs/archive.md. Without a run directory it only counts."""

    def __init__(self, run_dir: Path | None, arm: str = "control") -> None:
        self._requests = RowFile(run_dir / "requests.ndjson") if run_dir else None
        self._history = RowFile(run_dir / "history.ndjson") if run_dir else None
        self._arm = arm
        self._seq = itertools.count()
        self._errands = itertools.count()
        # keys must be fresh although the seed repeats: the shop remembers them
        self._salt = secrets.token_hex(6)
        self.attempts = 0
        self.dropped = 0

    def new_logical_id(self) -> str:
        """The id of one thing a shopper wants; all its attempts share it (and it is their key)."""
        return f"{self._salt}-{next(self._errands):06d}"

    def attempt(
        self,
        *,
        session: str,
        method: str,
        route: str,
        logical_id: str,
        attempt_no: int,
        intended_start_s: float,
        actual_start_s: float,
        end_s: float,
        status: int,
        outcome: str,
        error: str | None,
        request_id: str | None = None,
        idempotency_key: str | None = None,
        order_id: str | None = None,
        size_bytes: int = 0,
        version: int | None = None,
    ) -> None:
        """One attempt as the shopper saw it; `route` is the template without the method."""
        self.attempts += 1
        self._write(
            {
                "session": session,
                "route": f"{method} {route}",
                "method": method,
                "logical_id": logical_id,
                "attempt_no": attempt_no,
                "intended_start_s": intended_start_s,
                "actual_start_s": actual_start_s,
                "end_s": end_s,
                "status": status,
                "outcome": outcome,
                "error": error,
                "request_id": request_id,
                "idempotency_key": idempotency_key,
                "order_id": order_id,
                "bytes": size_bytes,
                "version": version,
                "dropped": False,
            }
        )

    def unsent(
        self,
        *,
        session: str,
        route: str,
        intended_start_s: float,
        error: str,
        dropped: bool = False,
    ) -> None:
        """An arrival nobody sent (`dropped`: too many in flight): to the shopper it is a failure."""
        self.dropped += dropped
        self._write(
            {
                "session": session,
                "route": route,
                "method": route.split(" ")[0],
                "logical_id": self.new_logical_id(),
                "attempt_no": 1,
                "intended_start_s": intended_start_s,
                "actual_start_s": None,
                "end_s": None,
                "status": 0,
                "outcome": "fail",
                "error": error,
                "dropped": dropped,
            }
        )

    def operation(
        self, *, process: str, type: str, f: str, key: str, value: Any, error: str | None = None
    ) -> None:
        """One line of the order history: `type` invoke, ok, fail or info; `f` place, read, cancel."""
        if self._history:
            self._history.append(
                {
                    "process": process,
                    "type": type,
                    "f": f,
                    "key": key,
                    "value": json.dumps(value, separators=(",", ":")),
                    "time_s": now_s(),
                    "error": error,
                }
            )

    def flush(self) -> None:
        for file in (self._requests, self._history):
            if file:
                file.flush()

    def close(self) -> None:
        for file in (self._requests, self._history):
            if file:
                file.close()

    def _write(self, row: dict[str, Any]) -> None:
        if self._requests:
            self._requests.append({"seq": next(self._seq), "arm": self._arm, **row})
