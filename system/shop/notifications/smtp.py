"""Sends mails over SMTP on one kept connection, and turns the server's refusals into errors."""

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

import aiosmtplib

from shop.notifications.domain import DOMAIN

SENDER = f"shop@{DOMAIN}"
TIMEOUT_S = 5.0
SERVICE_CLOSING = 421  # RFC 5321, 4.2.3: the server shuts down; the mail is not at fault


class MailServerDownError(Exception):
    """The mail server does not answer. The mail is not at fault."""


class MailRefusedError(Exception):
    """The server refuses this mail, permanently or temporarily."""

    def __init__(self, permanent: bool, reason: str) -> None:
        super().__init__(reason)
        self.permanent = permanent


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail as SMTP carries it, with CRLF at each line's end."""

    recipient: str
    content: bytes


class SmtpClient:
    """Sends one mail at a time. Connects when there is a mail to send."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
            raise ValueError(f"SMTP_URL: expected smtp://host:port, got {url!r}")
        self._smtp = aiosmtplib.SMTP(
            hostname=parts.hostname,
            port=parts.port or (465 if parts.scheme == "smtps" else 25),
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            local_hostname=DOMAIN,  # without it, the library looks the name of this host up
            use_tls=parts.scheme == "smtps",
            start_tls=False,
            timeout=TIMEOUT_S,
        )

    async def send(self, letter: Letter) -> None:
        """Deliver a letter to the server. Raises MailRefusedError, MailServerDownError.

        After MailServerDownError, the letter may have been delivered or not.
        """
        was_connected = self._smtp.is_connected
        try:
            await self._send(letter)
        except MailServerDownError:
            if not was_connected:
                raise
            # the server may have closed an idle connection: connect again
            await self._send(letter)

    def close(self) -> None:
        self._smtp.close()

    async def _send(self, letter: Letter) -> None:
        try:
            await self._connect_and_send(letter)
        except MailServerDownError:
            self._smtp.close()
            raise

    async def _connect_and_send(self, letter: Letter) -> None:
        try:
            if not self._smtp.is_connected:
                await self._smtp.connect()
        except (aiosmtplib.SMTPException, OSError) as error:
            raise MailServerDownError(_reason(error)) from error
        options = () if letter.recipient.isascii() else ("SMTPUTF8",)
        try:
            await self._smtp.sendmail(
                SENDER, letter.recipient, letter.content, mail_options=options
            )
        except aiosmtplib.SMTPRecipientsRefused as error:
            raise _refusal(error.recipients[0]) from error
        except aiosmtplib.SMTPHeloError as error:
            raise MailServerDownError(_reason(error)) from error
        except aiosmtplib.SMTPResponseException as error:
            raise _refusal(error) from error
        except (
            aiosmtplib.SMTPNotSupported,
            ValueError,
        ) as error:  # an address that SMTP cannot carry
            raise MailRefusedError(True, _reason(error)) from error
        except (aiosmtplib.SMTPException, OSError) as error:
            raise MailServerDownError(_reason(error)) from error


def _refusal(error: aiosmtplib.SMTPResponseException) -> MailRefusedError | MailServerDownError:
    reason = f"{error.code} {_reason(error)}"
    if error.code < 400 or error.code == SERVICE_CLOSING:
        return MailServerDownError(reason)
    return MailRefusedError(error.code >= 500, reason)


def _reason(error: Exception) -> str:
    text = error.message if isinstance(error, aiosmtplib.SMTPResponseException) else str(error)
    # the library keeps bytes that are no text as surrogates, which PostgreSQL refuses
    return text.encode(errors="replace").decode() or type(error).__name__
