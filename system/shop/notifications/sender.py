"""Sends the mails that are due, each in the trace of its event."""

import logging
from datetime import timedelta
from email.message import Message
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.utils import format_datetime
from random import Random
from typing import Protocol

from opentelemetry.trace import SpanKind

from chassis.clock import Clock
from chassis.faults import failpoint
from chassis.telemetry import signals
from chassis.telemetry.histogram import Histogram
from chassis.telemetry.metrics import counter, expose, gauge
from shop.notifications.domain import DOMAIN, backoff_s
from shop.notifications.smtp import MailRefusedError, MailServerDownError
from shop.notifications.store import MailStore, Outgoing

log = logging.getLogger("notifications.sender")
PENDING = gauge("mails_pending", "Mails that are stored and not sent yet")
MAILS = counter("mails", "Answers of the mail server", ("result",))
DELAY_SECONDS = Histogram(
    "mail_delay_seconds", "From the storing of a mail to its acceptance by the mail server"
)
BATCH = 20
IDLE_S = 0.2
COUNT_PERIOD_S = 0.5
CLAIM = timedelta(seconds=10)  # after a crash, another sender tries the mail this much later
POSTPONE_S_MAX = 60.0


class MailServer(Protocol):
    async def send(self, message: Message) -> None:
        """Raises MailServerDownError, MailRefusedError."""


class Sender:
    """Sends at least once: after a crash between the server's acceptance and our update, it sends again."""

    def __init__(self, store: MailStore, server: MailServer, clock: Clock, rng: Random) -> None:
        self._store = store
        self._server = server
        self._clock = clock
        self._rng = rng
        self._down_rounds = 0  # rounds in a row without a mail server

    async def run(self) -> None:
        for result in ("sent", "refused", "failed"):
            MAILS.labels(
                result
            )  # start at zero: Prometheus sees no increase in a series that starts at one
        expose(PENDING, MAILS, DELAY_SECONDS)
        counted_at = 0.0
        while True:
            busy = await self.round()
            if self._clock.monotonic() >= counted_at + COUNT_PERIOD_S:
                PENDING.set(await self._store.pending())
                counted_at = self._clock.monotonic()
            if self._down_rounds:
                await self._clock.sleep(backoff_s(self._down_rounds, self._rng))
            elif not busy:
                await self._clock.sleep(IDLE_S)

    async def round(self) -> bool:
        """Try one batch of due mails; whether more may be due."""
        now = self._clock.now()
        claimed = await self._store.claim(now=now, until=now + CLAIM, limit=BATCH)
        for number, mail in enumerate(claimed):
            try:
                await self._deliver(mail)
            except MailServerDownError as error:
                self._down_rounds += 1
                if self._down_rounds == 1:
                    log.warning("the mail server is down: %s", error)
                # the failed mail goes behind the others: it may be the cause
                later = self._clock.now() + timedelta(
                    seconds=backoff_s(self._down_rounds, self._rng)
                )
                await self._store.unclaim([mail.id], due_at=later)
                rest = [waiting.id for waiting in claimed[number + 1 :]]
                await self._store.unclaim(rest, due_at=now)
                return False
            if self._down_rounds:
                log.info("the mail server is up again")
                self._down_rounds = 0
        return len(claimed) == BATCH

    async def _deliver(self, mail: Outgoing) -> None:
        parent = signals.propagator.extract({"traceparent": mail.traceparent})
        with signals.tracer().start_as_current_span(
            "send mail", parent, SpanKind.CLIENT, {"peer.service": "mail"}
        ):
            try:
                await self._server.send(message_of(mail, format_datetime(self._clock.now())))
            except MailRefusedError as refusal:
                await self._refused(mail, refusal)
                return
            MAILS.labels("sent").inc()
            delay = self._clock.now() - mail.created_at
            DELAY_SECONDS.observe(max(0.0, delay.total_seconds()))
            await failpoint("notifications.after_send")
            await self._store.mark_sent(mail.id, now=self._clock.now())

    async def _refused(self, mail: Outgoing, refusal: MailRefusedError) -> None:
        log.warning("mail refused: %s", refusal, extra={"order_id": mail.order_id})
        MAILS.labels("failed" if refusal.permanent else "refused").inc()
        if refusal.permanent:
            await self._store.mark_failed(mail.id, str(refusal))
            return
        pause_s = backoff_s(mail.refusals + 1, self._rng, cap_s=POSTPONE_S_MAX)
        until = self._clock.now() + timedelta(seconds=pause_s)
        await self._store.postpone(mail.id, str(refusal), until=until)


def message_of(mail: Outgoing, date: str) -> Message:
    """Plain text with an HTML alternative. Headers name the order and the trace.

    Uses email.mime: the header parser of EmailMessage costs more than the rest of a delivery.
    """
    message = MIMEMultipart("alternative")
    message["From"] = f"Breakwater shop <shop@{DOMAIN}>"
    message["To"] = mail.recipient
    message["Subject"] = mail.subject
    message["Date"] = date
    message["Message-ID"] = mail.message_id
    if mail.order_id:
        message["X-Order-Id"] = mail.order_id
    trace_id = mail.traceparent.split("-")[1:2]
    if trace_id:
        message["X-Trace-Id"] = trace_id[0]
    for subtype, body in (("plain", mail.body_text), ("html", mail.body_html)):
        message.attach(MIMEText(body, subtype, "us-ascii" if body.isascii() else "utf-8"))
    return message
