"""Sends pending mails by SMTP over one kept connection; what can not be sent now is sent later."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from random import Random
from urllib.parse import urlsplit

import aiosmtplib
from opentelemetry.trace import SpanKind
from prometheus_client import Counter, Gauge

from chassis import telemetry
from shop.notifications.domain import message
from shop.notifications.store import Due, MailStore

log = logging.getLogger("notifications.sender")
PENDING = Gauge("mails_pending", "Mails not sent yet")
MAILS = Counter("mails", "Mails by what became of them", ("result",))
BATCH = 20
LEASE_S = 30.0
SMTP_S = 5.0
IDLE_S = 0.5
HINT_S = 0.01  # from the handler to the first look: its transaction still has to commit
BACKOFF_BASE_S = 0.5
BACKOFF_CAP_S = 5.0
DOWN = (
    aiosmtplib.SMTPServerDisconnected,
    aiosmtplib.SMTPConnectError,
    aiosmtplib.SMTPTimeoutError,
    OSError,
)


class Sender:
    """At least once: a crash between the server's yes and our note of it sends the mail again, with the
    same Message-ID."""

    def __init__(
        self, store: MailStore, url: str, now: Callable[[], datetime], rng: Random | None = None
    ) -> None:
        parts = urlsplit(url)
        self._smtp = aiosmtplib.SMTP(
            hostname=parts.hostname,
            port=parts.port or 25,
            timeout=SMTP_S,
            use_tls=False,
            start_tls=False,
        )
        self._store = store
        self._now = now
        self._rng = rng or Random()
        self._hint = asyncio.Event()

    def hint(self) -> None:
        """There will be a mail soon."""
        self._hint.set()

    async def run(self) -> None:
        """Send what is due, for ever."""
        try:
            while True:
                due = await self._store.take(BATCH, LEASE_S)
                await self._send_all(due)
                PENDING.set(await self._store.pending())
                if len(due) < BATCH:
                    await self._wait()
        finally:
            self._smtp.close()

    async def _wait(self) -> None:
        try:
            await asyncio.wait_for(self._hint.wait(), IDLE_S)
        except TimeoutError:
            return
        self._hint.clear()
        await asyncio.sleep(HINT_S)

    async def _send_all(self, due: list[Due]) -> None:
        sent = [each.notification_id for each in due if await self._send(each)]
        if sent:
            await self._store.sent(sent)

    async def _send(self, due: Due) -> bool:
        parent = telemetry.propagator.extract({"traceparent": due.mail.traceparent})
        with telemetry.tracer().start_as_current_span(
            "send mail", parent, SpanKind.CLIENT,
            {"peer.service": "smtp", "breakwater.attempt": due.attempt, "breakwater.mail.kind": due.mail.kind},
        ):  # fmt: skip
            try:
                if not self._smtp.is_connected:
                    await self._smtp.connect()
                await self._smtp.send_message(message(due.mail, self._now()))
            except DOWN as error:
                await self._later(due, error)
                return False
            except aiosmtplib.SMTPResponseException as error:
                if error.code < 500:  # 4xx: the server asks to come back
                    await self._later(due, error)
                else:
                    log.error("mail %s refused: %s", due.notification_id, error)
                    await self._store.failed(due.notification_id, str(error))
                    MAILS.labels("failed").inc()
                return False
            except (aiosmtplib.SMTPRecipientsRefused, ValueError) as error:
                log.error("mail %s cannot be sent: %s", due.notification_id, error)
                await self._store.failed(due.notification_id, str(error))
                MAILS.labels("failed").inc()
                return False
        MAILS.labels("sent").inc()
        return True

    async def _later(self, due: Due, error: Exception) -> None:
        self._smtp.close()
        wait_s = min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2.0 ** min(due.attempt - 1, 10))
        wait_s *= 0.5 + self._rng.random() / 2
        log.warning(
            "mail %s waits %.1f s: %s", due.notification_id, wait_s, error or type(error).__name__
        )
        await self._store.postpone(due.notification_id, wait_s, str(error))
        MAILS.labels("postponed").inc()
