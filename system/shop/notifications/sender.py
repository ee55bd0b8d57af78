"""Sends the mails that are due, each in the trace of its event."""

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from email.utils import format_datetime
from random import Random
from typing import Protocol

from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from chassis.background import until_beat_s
from chassis.clock import Clock
from chassis.faults import failpoint
from chassis.telemetry import signals
from chassis.telemetry.histogram import Histogram
from chassis.telemetry.metrics import counter, expose, gauge
from shop.notifications.domain import backoff_s
from shop.notifications.letter import letter_of
from shop.notifications.smtp import Letter, MailRefusedError, MailServerDownError, Outcome
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


class MailServer(Protocol):
    async def send(self, letters: Sequence[Letter]) -> list[Outcome]: ...


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
            oldest = self._clock.now() - CLAIM / 2
            await self._try([mail for mail in batch if mail.created_at > oldest])

    async def round(self) -> bool:
        """Try one batch of due mails; whether more may be due."""
        now = self._clock.now()
        claimed = await self._store.claim(now=now, until=now + CLAIM, limit=BATCH)
        return await self._try(claimed) and len(claimed) == BATCH

    async def _try(self, claimed: list[Outgoing]) -> bool:
        """Send these mails; whether the mail server answered."""
        if not claimed:
            return True
        now, start_ns = self._clock.now(), time.time_ns()
        date = format_datetime(now)
        outcomes = await self._server.send([letter_of(mail, date) for mail in claimed])
        answered = [
            (mail, outcome, _start_span(mail, start_ns))
            for mail, outcome in zip(claimed, outcomes, strict=True)
            if not isinstance(outcome, MailServerDownError)
        ]
        try:
            await self._note(answered)
        finally:
            for _, _, span in answered:
                span.end()
        if len(answered) < len(claimed):
            await self._server_down(claimed[len(answered) :], outcomes[-1], start_ns)
            return False
        if self._down_rounds:
            log.info("the mail server is up again")
            self._down_rounds = 0
        return True

    async def _note(self, answered: Sequence[tuple[Outgoing, Outcome, Span]]) -> None:
        """Store what became of the mails that the server answered."""
        sent = []
        for mail, outcome, span in answered:
            if isinstance(outcome, MailRefusedError):
                with signals.CurrentSpan(span):
                    await self._refused(mail, outcome)
                continue
            MAILS.labels("sent").inc()
            delay = self._clock.now() - mail.created_at
            DELAY_SECONDS.observe(max(0.0, delay.total_seconds()))
            await failpoint("notifications.after_send")
            sent.append(mail.id)
        if sent:
            with signals.CurrentSpan(answered[0][2]):
                await self._store.mark_sent(sent, now=self._clock.now())
            PENDING.dec(len(sent))

    async def _server_down(self, unsent: list[Outgoing], error: Outcome, start_ns: int) -> None:
        """Return these mails. The first goes behind the others: it may be the cause."""
        self._down_rounds += 1
        if self._down_rounds == 1:
            log.warning("the mail server is down: %s", error)
        span = _start_span(unsent[0], start_ns)
        span.set_status(Status(StatusCode.ERROR, str(error)))
        span.end()
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


def _start_span(mail: Outgoing, start_ns: int) -> Span:
    parent = signals.propagator.extract({"traceparent": mail.traceparent})
    return signals.tracer().start_span(
        "send mail", parent, SpanKind.CLIENT, {"peer.service": "mail"}, start_time=start_ns
    )
