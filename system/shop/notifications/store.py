"""Mails in PostgreSQL: written in the inbox's transaction, taken by one sender at a time."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from asyncpg import Pool, Record

from chassis.idempotency import Conn
from chassis.ids import new_id
from shop.notifications.domain import Mail

_INSERT = """
INSERT INTO mails (notification_id, event_id, kind, recipient, user_id, order_id, subject, text, traceparent,
                   message_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (event_id) DO NOTHING
"""
# The lease hides a mail from other senders while one of them is sending it.
_TAKE = """
UPDATE mails SET attempts = attempts + 1, next_at = now() + $2
WHERE notification_id IN (
    SELECT notification_id FROM mails WHERE status = 'pending' AND next_at <= now()
    ORDER BY next_at LIMIT $1 FOR UPDATE SKIP LOCKED)
RETURNING *
"""


@dataclass(frozen=True, slots=True)
class Due:
    """A mail to send now, and which attempt this is."""

    notification_id: str
    mail: Mail
    attempt: int


@dataclass(frozen=True, slots=True)
class Notification:
    id: str
    kind: str
    order_id: str
    user_id: str
    status: str
    created_at: datetime
    sent_at: datetime | None


class MailStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add(self, conn: Conn, mail: Mail) -> None:
        """Write the mail with whatever else `conn`'s transaction does."""
        await conn.execute(
            _INSERT, new_id(), mail.event_id, mail.kind, mail.recipient, mail.user_id, mail.order_id,
            mail.subject, mail.text, mail.traceparent, mail.message_id,
        )  # fmt: skip

    async def take(self, limit: int, lease_s: float) -> list[Due]:
        """Up to `limit` due mails, ours for `lease_s` seconds."""
        rows = await self._pool.fetch(_TAKE, limit, timedelta(seconds=lease_s))
        return [Due(row["notification_id"], _mail(row), row["attempts"]) for row in rows]

    async def sent(self, notification_ids: list[str]) -> None:
        await self._pool.execute(
            "UPDATE mails SET status = 'sent', sent_at = now(), error = '' "
            "WHERE notification_id = ANY($1::text[])",
            notification_ids,
        )

    async def postpone(self, notification_id: str, wait_s: float, error: str) -> None:
        """Not sent; due again in `wait_s` seconds."""
        await self._pool.execute(
            "UPDATE mails SET next_at = now() + $2, error = $3 WHERE notification_id = $1",
            notification_id, timedelta(seconds=wait_s), error[:500],
        )  # fmt: skip

    async def failed(self, notification_id: str, error: str) -> None:
        """The server refused it for good: it will not be tried again."""
        await self._pool.execute(
            "UPDATE mails SET status = 'failed', error = $2 WHERE notification_id = $1",
            notification_id, error[:500],
        )  # fmt: skip

    async def pending(self) -> int:
        count: int = await self._pool.fetchval(
            "SELECT count(*) FROM mails WHERE status = 'pending'"
        )
        return count

    async def of_order(self, order_id: str, user_id: str | None) -> list[Notification]:
        """An order's mails, oldest first; with `user_id`, that user's alone."""
        rows = await self._pool.fetch(
            "SELECT notification_id AS id, kind, order_id, user_id, status, created_at, sent_at FROM mails "
            "WHERE order_id = $1 AND ($2::text IS NULL OR user_id = $2) ORDER BY notification_id",
            order_id, user_id,
        )  # fmt: skip
        return [Notification(**dict[str, Any](row)) for row in rows]


def _mail(row: Record) -> Mail:
    names = (
        "event_id",
        "kind",
        "recipient",
        "user_id",
        "order_id",
        "subject",
        "text",
        "traceparent",
    )
    return Mail(**{name: row[name] for name in names})
