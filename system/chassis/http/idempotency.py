"""Idempotency keys: one effect and one answer per key, stored in the transaction of the effect.

An effect of one statement contains the claim of its key (`KeyUse`, `claimed`); one of several uses `once`.
"""

# ruff: noqa: S608 - the f-strings below insert constant parts of statements

import hashlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Self

from asyncpg import Record
from fastapi import Header, Response
from pydantic import BaseModel
from pydantic_core import to_json

from chassis.http.problems import ProblemError
from chassis.ids import new_id
from chassis.postgres.connection import Conn
from chassis.telemetry.metrics import counter

USES = counter("idempotency", "Uses of an Idempotency-Key", ("result",))
FRESH, REPLAYED, MISMATCH = (USES.labels(each) for each in ("fresh", "replayed", "mismatch"))
# what `KeyUse.replay` reads
KNOWN = (
    "known.fingerprint AS known_fingerprint, known.status AS known_status, known.body AS known_body"
)
# $1 and $2 are the scope and the key; one row, also if the key is unknown
FROM_KNOWN = """FROM (VALUES (true)) AS one
    LEFT JOIN idempotency AS known ON known.scope = $1 AND known.key = $2"""
_SELECT = f"SELECT {KNOWN} FROM idempotency AS known WHERE scope = $1 AND key = $2"
enabled = True  # the lab's switch IDEMPOTENCY=off, set by chassis.service
digest_key = b""  # the secret of the services, set by chassis.service
_canonical = json.JSONEncoder(sort_keys=True, default=str).encode


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
    """An answer stored with its key. `text` is its body, as JSON."""

    status: int
    text: str
    replayed: bool = False

    @classmethod
    def of(cls, status: int, body: Any) -> Self:
        """The answer with this body: a model, a dataclass or anything that JSON has."""
        return cls(status, to_json(body).decode())

    @property
    def body(self) -> Any:
        return json.loads(self.text)

    def response(self) -> Response:
        headers = {"Idempotency-Replayed": "true"} if self.replayed else None
        return Response(self.text, self.status, headers, "application/json")


class AnsweredError(Exception):
    """The key has an answer: `KeyUse.stored`."""


class KeyUse:
    """One use of a key, for an effect of one statement, which contains `claimed`.

    with KeyUse("bank.capture", key, body, 200) as use:
        await ledger.capture(use, ...)
    return use.response()

    The answer is `view` of the statement's result. With IDEMPOTENCY=off each use has a new key.
    """

    __slots__ = ("fingerprint", "key", "scope", "status", "stored", "view")

    def __init__(
        self, scope: str, key: str, body: BaseModel | dict[str, Any] | None, status: int,
        view: Callable[[Any], Any] | None = None,
    ) -> None:  # fmt: skip
        self.scope = scope
        self.key = key if enabled else new_id()
        self.fingerprint = fingerprint(body)
        self.status = status
        self.view = view
        self.stored: Stored | None = None

    def claim(self, result: Any) -> tuple[Any, ...]:
        """$1 to $5 of a statement with `claimed`. The result None claims the key without an answer."""
        if result is None:
            return self.scope, self.key, self.fingerprint, None, None
        stored = self.stored = Stored.of(self.status, self.view(result) if self.view else result)
        return self.scope, self.key, self.fingerprint, stored.status, stored.text

    def answered(self, text: str | None) -> None:
        """The statement stored this body as the answer; None: it stored none."""
        self.stored = None if text is None else Stored(self.status, text)

    def replay(self, row: Record | None) -> Record:
        """The row, which has KNOWN. Raises AnsweredError if the key has an answer, and KeyReusedError."""
        assert row is not None, "FROM_KNOWN makes one row"
        self.stored = _stored_answer(row, self.fingerprint)
        if self.stored is not None:
            raise AnsweredError
        return row

    async def keep(self, conn: Conn, result: Any) -> None:
        """Store the answer alone, without an effect. Raises what `replay` raises if the key was used before."""
        if not await conn.fetchval(_KEEP, *self.claim(result)):
            self.replay(await conn.fetchrow(_SELECT, self.scope, self.key))

    def response(self) -> Response:
        assert self.stored is not None, f"{self.scope}: no statement had an answer"
        return self.stored.response()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        if kind is None and self.stored is not None:
            FRESH.inc()
        return kind is AnsweredError


def claimed(source: str) -> str:
    """A part of a statement: it stores the answer with the key once `source`, another part, has a row.

    It has no row if the key was used before. It waits for another request that uses the key now.
    """
    return f"""claimed AS (
    INSERT INTO idempotency (scope, key, fingerprint, status, body)
    SELECT $1, $2, $3, $4::int, $5 FROM {source}
    ON CONFLICT (scope, key) DO NOTHING RETURNING true
)"""


_KEEP = f"WITH one AS (SELECT), {claimed('one')} SELECT true FROM claimed"


@dataclass(slots=True)
class Once:
    """One use of a key: `stored` is the earlier answer, if there is one."""

    stored: Stored | None = None
    recorded: Stored | None = None

    def record(self, status: int, body: BaseModel | dict[str, Any]) -> Stored:
        """Set the answer to be stored with the key."""
        self.recorded = Stored.of(status, body)
        return self.recorded


def fingerprint(body: BaseModel | dict[str, Any] | None) -> str:
    """A digest of a body that does not depend on the order of its fields.

    Keyed: from a plain digest, a thief of the table could find a card number or a password by trying all.
    """
    plain = body.model_dump(mode="json") if isinstance(body, BaseModel) else body
    text = _canonical(plain).encode()
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
    fresh = await conn.fetchval(_KEEP, scope, key, digest, None, None)
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
            scope, key, attempt.recorded.status, attempt.recorded.text,
        )  # fmt: skip


async def recall(
    conn: Conn, *, scope: str, key: str, body: BaseModel | dict[str, Any] | None
) -> Stored | None:
    """The answer stored with this key, for work that is idempotent by its own state. Raises KeyReusedError."""
    if not enabled:
        return None
    row = await conn.fetchrow(_SELECT, scope, key)
    if row is None or row["known_status"] is None:
        return None
    return _stored_answer(row, fingerprint(body))


def _stored_answer(row: Record, digest: str) -> Stored | None:
    """The answer in `row`, None if it has none. Raises KeyReusedError for another body."""
    if row["known_fingerprint"] is None:
        return None
    if row["known_fingerprint"] != digest:
        MISMATCH.inc()
        raise KeyReusedError("this Idempotency-Key was used with another body")
    if row["known_status"] is None:
        return None
    REPLAYED.inc()
    return Stored(row["known_status"], row["known_body"], replayed=True)


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
    stored = Stored.of(status, answer)
    if not enabled:
        return stored
    inserted = await conn.fetchval(_KEEP, scope, key, fingerprint(body), status, stored.text)
    if inserted:
        FRESH.inc()
    return stored if inserted else await recall(conn, scope=scope, key=key, body=body) or stored
