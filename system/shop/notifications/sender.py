"""Sends the mails that are due, each in the trace of its event."""

import asyncio
import logging
import time
from collections.abc import Sequence
from datetime import timedelta
from email.utils import format_datetime
from random import Random
from typing import Protocol

from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from chassis.clock import Clock
from chassis.faults import failpoint
from chassis.telemetry import signals
from chassis.telemetry.histogram import Histogram
from chassis.telemetry.metrics import counter, expose, gauge
from shop.notifications.domain import backoff_s
from shop.notifications.letter import letter_of
from shop.notifications.smtp import Letter, MailRefusedError, MailServerDownError, Outcome
from shop.notifications.store import MailStore, Outgoing

log = logging.getLogger("notifications.sender")
PENDING = gauge("mails_pending", "Mails that are stored and not sent yet")
MAILS = counter("mails", "Answers of the mail server", ("result",))
DELAY_SECONDS = Histogram(
    "mail_delay_seconds", "From the storing of a mail to its acceptance by the mail server"
)
BATCH = 20
LOOK_S = 1.0  # interval to count mails and to look for those that no hint announces: of a retry or a dead sender
CLAIM = timedelta(seconds=10)  # after a crash, another sender tries the mail this much later
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
        self._hint = asyncio.Event()
        self._down_rounds = 0  # rounds in a row without a mail server

    def hint(self, stored: int) -> None:
        """New mails are stored."""
        PENDING.inc(stored)
        self._hint.set()

    async def run(self) -> None:
        for result in ("sent", "refused", "failed"):
            MAILS.labels(
                result
            )  # start at zero: Prometheus sees no increase in a series that starts at one
        expose(PENDING, MAILS, DELAY_SECONDS)
        counted_at = -LOOK_S
        while True:
            if self._clock.monotonic() >= counted_at + LOOK_S:
                pending = await self._store.pending()
                PENDING.set(pending)
                counted_at = self._clock.monotonic()
                if not pending:
                    await self._hinted()
                    continue
            self._hint.clear()
            busy = await self.round()
            if self._down_rounds:
                await self._clock.sleep(backoff_s(self._down_rounds, self._rng))
            elif not busy:
                await self._hinted()

    async def _hinted(self) -> None:
        """Wait until this instance stores a mail, at most LOOK_S."""
        try:
            async with asyncio.timeout(LOOK_S):
                await self._hint.wait()
        except TimeoutError:
            return

    async def round(self) -> bool:
        """Try one batch of due mails; whether more may be due."""
        now, start_ns = self._clock.now(), time.time_ns()
        claimed = await self._store.claim(now=now, until=now + CLAIM, limit=BATCH)
        if not claimed:
            return False
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
        return len(claimed) == BATCH

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
        await self._store.unclaim([mail.id for mail in unsent[1:]], due_at=now)

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
