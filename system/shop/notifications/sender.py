"""Sends the mails that are due, each in the trace of its event."""

import asyncio
import logging
from contextlib import suppress
from datetime import datetime, timedelta
from email.utils import format_datetime
from random import Random
from typing import Protocol

from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, get_current_span

from chassis.background import until_beat_s
from chassis.clock import Clock
from chassis.faults import failpoint
from chassis.telemetry import signals
from chassis.telemetry.histogram import Histogram
from chassis.telemetry.metrics import counter, expose, gauge
from shop.notifications.domain import backoff_s
from shop.notifications.letter import letter_of
from shop.notifications.smtp import Letter, MailRefusedError, MailServerDownError
from shop.notifications.store import CLAIM, MailRow, MailStore, Outgoing

log = logging.getLogger("notifications.sender")
PENDING = gauge("mails_pending", "Mails that are stored and not sent yet")
MAILS = counter("mails", "Answers of the mail server", ("result",))
DELAY_SECONDS = Histogram(
    "mail_delay_seconds", "From the storing of a mail to its acceptance by the mail server"
)
BATCH = 20
LOOK_S = 1.0  # interval to count mails and to look for those that are due again: of a retry or a dead sender
POSTPONE_S_MAX = 60.0
SEND_WITHIN = CLAIM / 2  # later after its claim, another sender may soon claim the mail


class MailServer(Protocol):
    async def send(self, letter: Letter) -> None:
        """Raises MailServerDownError, MailRefusedError."""


class Sender:
    """Sends at least once: after a crash between the server's acceptance and our update, it sends again."""

    def __init__(self, store: MailStore, server: MailServer, clock: Clock, rng: Random) -> None:
        self._store = store
        self._server = server
        self._clock = clock
        self._rng = rng
        self._new: list[Outgoing] = []  # stored and claimed for this sender
        self._stored = asyncio.Event()
        self._down_rounds = 0  # rounds in a row without a mail server

    def stored(self, rows: list[MailRow]) -> None:
        """Send these new mails."""
        self._new += [row.outgoing() for row in rows]
        PENDING.inc(len(rows))
        if rows:
            self._stored.set()

    async def run(self) -> None:
        for result in ("sent", "refused", "failed"):
            MAILS.labels(
                result
            )  # start at zero: Prometheus sees no increase in a series that starts at one
        expose(PENDING, MAILS, DELAY_SECONDS)
        look_at = self._clock.monotonic()
        while True:
            now = self._clock.monotonic()
            if now >= look_at:
                look_at = now + until_beat_s(LOOK_S)
                pending = await self._store.pending()
                PENDING.set(pending)
                while pending and await self.round() and self._clock.monotonic() < look_at:
                    pass
            await self.send_new()
            if self._down_rounds:
                await self._clock.sleep(backoff_s(self._down_rounds, self._rng))
                look_at = self._clock.monotonic()
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(look_at - self._clock.monotonic()):
                    await self._stored.wait()

    async def send_new(self) -> None:
        """Try the mails that this instance has stored. They need no claim: they were stored with one."""
        self._stored.clear()
        while self._new:
            batch, self._new = self._new[:BATCH], self._new[BATCH:]
            # of a claim that has nearly expired, another sender may send the mail: leave it to the next look
            oldest = self._clock.now() - SEND_WITHIN
            if fresh := [mail for mail in batch if mail.created_at > oldest]:
                await self._try(fresh, claimed_at=fresh[0].created_at)

    async def round(self) -> bool:
        """Try one batch of due mails; whether more may be due."""
        now = self._clock.now()
        claimed = await self._store.claim(now=now, until=now + CLAIM, limit=BATCH)
        return await self._try(claimed, claimed_at=now) and len(claimed) == BATCH

    async def _try(self, claimed: list[Outgoing], *, claimed_at: datetime) -> bool:
        """Send these mails, or return those that are too late; whether the mail server answered."""
        sent: list[Outgoing] = []
        try:
            for number, mail in enumerate(claimed):
                if (now := self._clock.now()) >= claimed_at + SEND_WITHIN:
                    await self._store.unclaim([each.id for each in claimed[number:]], due_at=now)
                    break
                if await self._deliver(mail):
                    sent.append(mail)
                if self._down_rounds:
                    log.info("the mail server is up again")
                    self._down_rounds = 0
        except MailServerDownError as error:
            await self._server_down(claimed[number:], error)
            return False
        finally:
            await self._mark_sent(sent)
        return True

    async def _deliver(self, mail: Outgoing) -> bool:
        """Whether the mail server accepted the mail. Raises MailServerDownError."""
        with signals.tracer().start_as_current_span(
            "send mail", _parent_of(mail), SpanKind.CLIENT, {"peer.service": "mail"}
        ):
            try:
                await self._server.send(letter_of(mail, format_datetime(self._clock.now())))
            except MailRefusedError as refusal:
                await self._refused(mail, refusal)
                return False
            MAILS.labels("sent").inc()
            delay = self._clock.now() - mail.created_at
            DELAY_SECONDS.observe(max(0.0, delay.total_seconds()))
            await failpoint("notifications.after_send")
            return True

    async def _mark_sent(self, sent: list[Outgoing]) -> None:
        """In the trace of the first of these mails."""
        if sent:
            with signals.CurrentSpan(get_current_span(_parent_of(sent[0]))):
                await self._store.mark_sent([mail.id for mail in sent], now=self._clock.now())
            PENDING.dec(len(sent))

    async def _server_down(self, unsent: list[Outgoing], error: MailServerDownError) -> None:
        """Return these mails. The first goes behind the others: it may be the cause."""
        self._down_rounds += 1
        if self._down_rounds == 1:
            log.warning("the mail server is down: %s", error)
        now = self._clock.now()
        later = now + timedelta(seconds=backoff_s(self._down_rounds, self._rng))
        await self._store.unclaim([unsent[0].id], due_at=later)
        rest, self._new = [*unsent[1:], *self._new], []
        await self._store.unclaim([mail.id for mail in rest], due_at=now)

    async def _refused(self, mail: Outgoing, refusal: MailRefusedError) -> None:
        log.warning("mail refused: %s", refusal, extra={"order_id": mail.order_id})
        MAILS.labels("failed" if refusal.permanent else "refused").inc()
        if refusal.permanent:
            await self._store.mark_failed(mail.id, str(refusal))
            return
        pause_s = backoff_s(mail.refusals + 1, self._rng, cap_s=POSTPONE_S_MAX)
        until = self._clock.now() + timedelta(seconds=pause_s)
        await self._store.postpone(mail.id, str(refusal), until=until)


def _parent_of(mail: Outgoing) -> Context:
    """The span of the event that the mail is about."""
    return signals.propagator.extract({"traceparent": mail.traceparent})
