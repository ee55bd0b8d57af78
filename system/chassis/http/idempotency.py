"""Idempotency keys: one effect and one answer per key, stored in the transaction of the effect."""

import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

from asyncpg import Record
from fastapi import Header
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from chassis.http.problems import ProblemError
from chassis.postgres.connection import Conn
from chassis.telemetry.metrics import counter

USES = counter("idempotency", "Uses of an Idempotency-Key", ("result",))
FRESH, REPLAYED, MISMATCH = (USES.labels(each) for each in ("fresh", "replayed", "mismatch"))
_SELECT = "SELECT fingerprint, status, body FROM idempotency WHERE scope = $1 AND key = $2"
enabled = True  # the lab's switch IDEMPOTENCY=off, set by chassis.service
digest_key = b""  # the secret of the services, set by chassis.service


class KeyInUseError(ProblemError):
    """Another request with the same key is running."""

    status = 409
    retry_after_s = 1.0


class KeyReusedError(ProblemError):
    """The same key was used before with another body."""

    status = 422


# a missing or malformed header is 400 (chassis.http.problems)
IdempotencyKey = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        pattern="^[!-~]{1,255}$",
        description="A new one for each new request; repeat it to retry.",
    ),
]


@dataclass(frozen=True, slots=True)
class Stored:
    """An answer stored with its key."""

    status: int
    body: Any
    replayed: bool = False

    def response(self) -> JSONResponse:
        headers = {"Idempotency-Replayed": "true"} if self.replayed else None
        return JSONResponse(self.body, self.status, headers)


@dataclass(slots=True)
class Once:
    """One use of a key: `stored` is the earlier answer, if there is one."""

    stored: Stored | None = None
    recorded: Stored | None = None

    def record(self, status: int, body: BaseModel | dict[str, Any]) -> Stored:
        """Set the answer to be stored with the key."""
        plain = body.model_dump(mode="json") if isinstance(body, BaseModel) else body
        self.recorded = Stored(status, plain)
        return self.recorded


def fingerprint(body: BaseModel | dict[str, Any] | None) -> str:
    """A digest of a body that does not depend on the order of its fields.

    Keyed: from a plain digest, a thief of the table could find a card number or a password by trying all.
    """
    plain = body.model_dump(mode="json") if isinstance(body, BaseModel) else body
    text = json.dumps(plain, sort_keys=True, default=str).encode()
    return hashlib.blake2b(text, key=digest_key, digest_size=32).hexdigest()


@asynccontextmanager
async def once(
    conn: Conn, *, scope: str, key: str, body: BaseModel | dict[str, Any] | None
) -> AsyncIterator[Once]:
    """Use a key inside the caller's transaction. A second use waits until the first one commits.

    Raises KeyReusedError if the key was used with another body. With IDEMPOTENCY=off nothing is stored.
    """
    attempt = Once()
    if not enabled:
        yield attempt
        return
    digest = fingerprint(body)
    # the insert locks the key's row: a concurrent request with the key waits here until we commit or roll back
    fresh = await conn.fetchval(
        "INSERT INTO idempotency (scope, key, fingerprint) VALUES ($1, $2, $3) "
        "ON CONFLICT (scope, key) DO NOTHING RETURNING true",
        scope, key, digest,
    )  # fmt: skip
    if not fresh:
        row = await conn.fetchrow(_SELECT, scope, key)
        if row is None:
            raise KeyInUseError("another request is using this Idempotency-Key; try again")
        attempt.stored = _stored_answer(row, digest)
    yield attempt
    if attempt.recorded is not None and attempt.stored is None:
        FRESH.inc()
        await conn.execute(
            "UPDATE idempotency SET status = $3, body = $4 WHERE scope = $1 AND key = $2",
            scope, key, attempt.recorded.status, json.dumps(attempt.recorded.body),
        )  # fmt: skip


async def recall(
    conn: Conn, *, scope: str, key: str, body: BaseModel | dict[str, Any] | None
) -> Stored | None:
    """The answer stored with this key, for work that is idempotent by its own state. Raises KeyReusedError."""
    if not enabled:
        return None
    row = await conn.fetchrow(_SELECT, scope, key)
    if row is None or row["status"] is None:
        return None
    return _stored_answer(row, fingerprint(body))


def _stored_answer(row: Record, digest: str) -> Stored | None:
    """The answer in `row`, None before it is recorded. Raises KeyReusedError for another body."""
    if row["fingerprint"] != digest:
        MISMATCH.inc()
        raise KeyReusedError("this Idempotency-Key was used with another body")
    if row["status"] is None:
        return None
    REPLAYED.inc()
    return Stored(row["status"], json.loads(row["body"]), replayed=True)


async def keep(
    conn: Conn,
    *,
    scope: str,
    key: str,
    body: BaseModel | dict[str, Any] | None,
    status: int,
    answer: BaseModel,
) -> Stored:
    """Store this answer with its key. Raises KeyReusedError.

    If a concurrent request stored one first, that answer is returned.
    """
    stored = Stored(status, answer.model_dump(mode="json"))
    if not enabled:
        return stored
    inserted = await conn.fetchval(
        "INSERT INTO idempotency (scope, key, fingerprint, status, body) VALUES ($1, $2, $3, $4, $5) "
        "ON CONFLICT (scope, key) DO NOTHING RETURNING true",
        scope, key, fingerprint(body), status, json.dumps(stored.body),
    )  # fmt: skip
    if inserted:
        FRESH.inc()
    return stored if inserted else await recall(conn, scope=scope, key=key, body=body) or stored
