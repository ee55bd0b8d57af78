"""Sends mails over SMTP on one kept connection, many at once where the server allows it."""

import asyncio
import base64
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from shop.notifications.domain import DOMAIN

TIMEOUT_S = 5.0
SERVICE_CLOSING = 421  # RFC 5321, 4.2.3: the server shuts down; the mail is not at fault
TOGETHER = {"PIPELINING", "CHUNKING"}  # RFC 2920, 3030: all commands and mails in one write


class MailServerDownError(Exception):
    """The mail server does not answer. The mail is not at fault."""


class MailRefusedError(Exception):
    """The server refuses this mail, permanently or temporarily."""

    def __init__(self, permanent: bool, reason: str) -> None:
        super().__init__(reason)
        self.permanent = permanent


Outcome = MailRefusedError | MailServerDownError | None  # None: the server has accepted the mail


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail as SMTP carries it: `content` in ASCII, with CRLF at each line's end."""

    recipient: str
    content: bytes


class SmtpClient:
    """Connects when there is a mail to send."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
            raise ValueError(f"SMTP_URL: expected smtp://host:port, got {url!r}")
        self._host = parts.hostname
        self._port = parts.port or (465 if parts.scheme == "smtps" else 25)
        self._tls = ssl.create_default_context() if parts.scheme == "smtps" else None
        login = f"\0{unquote(parts.username or '')}\0{unquote(parts.password or '')}"
        self._login = base64.b64encode(login.encode()) if parts.username else b""
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._together = False

    async def send(self, letters: Sequence[Letter]) -> list[Outcome]:
        """The outcome of each letter. One with MailServerDownError may have been delivered or not."""
        outcomes: list[Outcome] = []
        while True:
            was_connected = self._streams is not None
            try:
                await self._send(letters[len(outcomes) :], outcomes)
                return outcomes
            except (OSError, EOFError, ValueError, MailServerDownError) as error:
                self.close()
                # the server may have closed an idle connection: connect again
                if not was_connected:
                    down = MailServerDownError(str(error) or type(error).__name__)
                    return outcomes + [down] * (len(letters) - len(outcomes))

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _send(self, letters: Sequence[Letter], outcomes: list[Outcome]) -> None:
        """Append the outcome of each letter. Raises OSError, EOFError, ValueError or MailServerDownError."""
        async with asyncio.timeout(TIMEOUT_S):
            if self._streams is None:
                await self._connect()
        if self._together:
            self._write(*(part for letter in letters for part in _in_one_piece(letter)))
        for letter in letters:
            async with asyncio.timeout(TIMEOUT_S):
                outcomes.append(await (self._replies() if self._together else self._steps(letter)))

    async def _connect(self) -> None:
        self._streams = await asyncio.open_connection(self._host, self._port, ssl=self._tls)
        _required(await self._reply())
        self._write(b"EHLO %s\r\n" % DOMAIN.encode())
        code, text = await self._reply()
        _required((code, text))
        extensions = {line.partition(" ")[0].upper() for line in text.splitlines()[1:]}
        self._together = extensions >= TOGETHER
        if self._login:
            self._write(b"AUTH PLAIN %s\r\n" % self._login)
            _required(await self._reply())

    async def _replies(self) -> MailRefusedError | None:
        """The outcome of a letter that was sent in one piece: its first refusal, if any."""
        answers = [await self._reply() for _ in ("RSET", "MAIL", "RCPT", "BDAT")]
        return next((_refusal(answer) for answer in answers if answer[0] >= 400), None)

    async def _steps(self, letter: Letter) -> MailRefusedError | None:
        """Send a letter command by command."""
        dotted = letter.content.replace(b"\r\n.", b"\r\n..")
        for part in (*_envelope(letter), b"DATA\r\n", dotted + b".\r\n"):
            self._write(part)
            answer = await self._reply()
            if answer[0] >= 400:
                self._write(b"RSET\r\n")
                await self._reply()
                return _refusal(answer)
        return None

    def _write(self, *parts: bytes) -> None:
        assert self._streams is not None
        self._streams[1].write(b"".join(parts))

    async def _reply(self) -> tuple[int, str]:
        """The code and the lines of one reply. Raises MailServerDownError if the server closes."""
        assert self._streams is not None
        lines: list[str] = []
        while True:
            line = (await self._streams[0].readuntil(b"\n")).decode(errors="replace").rstrip()
            lines.append(line[4:])
            if line[3:4] != "-":
                code, text = int(line[:3]), "\n".join(lines)
                if code == SERVICE_CLOSING:
                    raise MailServerDownError(f"{code} {text}")
                return code, text


def _envelope(letter: Letter) -> tuple[bytes, bytes]:
    return (
        b"MAIL FROM:<shop@%s>\r\n" % DOMAIN.encode(),
        b"RCPT TO:<%s>\r\n" % letter.recipient.encode(),
    )


def _in_one_piece(letter: Letter) -> tuple[bytes, ...]:
    # RSET: after a refusal the state of the transaction is not defined
    size = b"BDAT %d LAST\r\n" % len(letter.content)
    return b"RSET\r\n", *_envelope(letter), size, letter.content


def _refusal(answer: tuple[int, str]) -> MailRefusedError:
    code, text = answer
    return MailRefusedError(code >= 500, f"{code} {text}")


def _required(answer: tuple[int, str]) -> None:
    if answer[0] >= 400:
        raise MailServerDownError("{} {}".format(*answer))
