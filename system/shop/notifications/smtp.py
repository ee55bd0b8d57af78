"""Sends mails over SMTP on one kept connection, and turns the server's refusals into errors."""

from email.message import Message
from urllib.parse import unquote, urlsplit

import aiosmtplib

TIMEOUT_S = 5.0
SERVICE_CLOSING = 421  # RFC 5321, 4.2.3: the server shuts down; the mail is not at fault


class MailServerDownError(Exception):
    """The mail server does not answer. The mail is not at fault."""


class MailRefusedError(Exception):
    """The server refuses this mail, permanently or temporarily."""

    def __init__(self, permanent: bool, reason: str) -> None:
        super().__init__(reason)
        self.permanent = permanent


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
            use_tls=parts.scheme == "smtps",
            start_tls=False,
            timeout=TIMEOUT_S,
        )

    async def send(self, message: Message) -> None:
        """Deliver the mail to the server. Raises MailServerDownError, MailRefusedError."""
        was_connected = self._smtp.is_connected
        try:
            await self._send(message)
        except MailServerDownError:
            if not was_connected:
                raise
            # the server may have closed an idle connection: connect again
            await self._send(message)

    def close(self) -> None:
        self._smtp.close()

    async def _send(self, message: Message) -> None:
        try:
            if not self._smtp.is_connected:
                await self._smtp.connect()
        except (aiosmtplib.SMTPException, OSError) as error:
            self._smtp.close()
            raise MailServerDownError(_reason(error)) from error
        try:
            await self._smtp.send_message(message)
        except aiosmtplib.SMTPRecipientsRefused as error:
            raise _refusal(error.recipients[0].code, str(error.recipients[0].message)) from error
        except aiosmtplib.SMTPResponseException as error:
            if error.code == SERVICE_CLOSING:
                self._smtp.close()
                raise MailServerDownError(_reason(error)) from error
            raise _refusal(error.code, error.message) from error
        except aiosmtplib.SMTPNotSupported as error:
            raise MailRefusedError(True, _reason(error)) from error
        except (aiosmtplib.SMTPException, OSError) as error:
            self._smtp.close()
            raise MailServerDownError(_reason(error)) from error


def _refusal(code: int, message: str) -> MailRefusedError | MailServerDownError:
    if code == SERVICE_CLOSING:
        return MailServerDownError(f"{code} {message}")
    return MailRefusedError(code >= 500, f"{code} {message}")


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
