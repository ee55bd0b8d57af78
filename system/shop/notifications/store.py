"""Mails in SQL: stored with their events, claimed by one sender at a time."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from asyncpg import Pool

from chassis.ids import new_id
from shop.notifications.domain import Mail

CLAIM = timedelta(seconds=10)  # after a crash, another sender tries the mail this much later

# The rows of many mails, for chassis.messaging.effects.Rows. All are arrays of text: each new connection reads
# other types of arrays from the catalogue, by a statement that took the server 5 ms.
PUT = """
INSERT INTO mails (notification_id, event_id, user_id, order_id, kind, message_id, recipient, subject,
                   body_text, body_html, traceparent, created_at, due_at)
SELECT id::uuid, event_id, user_id, order_id::uuid, kind, message_id, recipient, subject,
       body_text, body_html, traceparent, created_at::timestamptz, due_at::timestamptz
FROM unnest($4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[],
            $12::text[], $13::text[], $14::text[], $15::text[], $16::text[]) AS mail
     (id, event_id, user_id, order_id, kind, message_id, recipient, subject,
      body_text, body_html, traceparent, created_at, due_at)
WHERE event_id IN (SELECT event_id FROM fresh) ON CONFLICT (event_id) DO NOTHING RETURNING event_id
"""
_CLAIM = """
UPDATE mails SET due_at = $2 WHERE notification_id IN (
    SELECT notification_id FROM mails WHERE status = 'pending' AND due_at <= $1
    ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED
)
RETURNING notification_id::text AS id, order_id::text, message_id, recipient, subject, body_text,
          body_html, traceparent, refusals, created_at
"""
_OF_ORDER = """
SELECT notification_id::text AS id, kind, order_id::text, status, created_at, sent_at FROM mails
WHERE order_id = $1 AND user_id = $2 ORDER BY notification_id
"""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A mail that one sender has claimed. `refusals` counts its temporary refusals by the server."""

    id: str
    order_id: str | None
    message_id: str
    recipient: str
    subject: str
    body_text: str
    body_html: str
    traceparent: str
    refusals: int
    created_at: datetime


class MailRow(NamedTuple):
    """The values of PUT for one mail."""

    id: str
    event_id: str
    user_id: str
    order_id: str | None
    kind: str
    message_id: str
    recipient: str
    subject: str
    body_text: str
    body_html: str
    traceparent: str
    created_at: str
    due_at: str

    @classmethod
    def of(cls, mail: Mail, *, traceparent: str, now: datetime) -> "MailRow":
        """A mail that is stored now, claimed for the sender of this instance."""
        return cls(
            new_id(), mail.event_id, mail.user_id, mail.order_id, mail.kind.value, mail.message_id,
            mail.recipient, mail.subject, mail.text, mail.html, traceparent,
            now.isoformat(), (now + CLAIM).isoformat(),
        )  # fmt: skip

    def outgoing(self) -> Outgoing:
        return Outgoing(
            self.id, self.order_id, self.message_id, self.recipient, self.subject, self.body_text,
            self.body_html, self.traceparent, 0, datetime.fromisoformat(self.created_at),
        )  # fmt: skip


class MailStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def claim(self, *, now: datetime, until: datetime, limit: int) -> list[Outgoing]:
        """Due mails, the oldest first. No other sender can claim them before `until`."""
        return [Outgoing(**row) for row in await self._pool.fetch(_CLAIM, now, until, limit)]

    async def mark_sent(self, mail_ids: list[str], *, now: datetime) -> None:
        await self._pool.execute(
            "UPDATE mails SET status = 'sent', sent_at = $2, error = ''"
            " WHERE notification_id = ANY ($1::text[]::uuid[])",
            mail_ids, now,
        )  # fmt: skip

    async def mark_failed(self, mail_id: str, error: str) -> None:
        """The mail is not tried again."""
        await self._pool.execute(
            "UPDATE mails SET status = 'failed', error = $2 WHERE notification_id = $1",
            mail_id, error,
        )  # fmt: skip

    async def postpone(self, mail_id: str, error: str, *, until: datetime) -> None:
        """After a temporary refusal: the mail is due again at `until`."""
        await self._pool.execute(
            "UPDATE mails SET due_at = $3, error = $2, refusals = refusals + 1"
            " WHERE notification_id = $1",
            mail_id, error, until,
        )  # fmt: skip

    async def unclaim(self, mail_ids: list[str], *, due_at: datetime) -> None:
        """Return claimed mails that were not sent."""
        await self._pool.execute(
            "UPDATE mails SET due_at = $2"
            " WHERE notification_id = ANY ($1::text[]::uuid[]) AND status = 'pending'",
            mail_ids, due_at,
        )  # fmt: skip

    async def of_order(self, order_id: str, user_id: str) -> list[dict[str, Any]]:
        """The user's mails about the order, oldest first."""
        return [dict(row) for row in await self._pool.fetch(_OF_ORDER, order_id, user_id)]

    async def pending(self) -> int:
        count: int = await self._pool.fetchval(
            "SELECT count(*) FROM mails WHERE status = 'pending'"
        )
        return count
