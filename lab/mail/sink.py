"""Receives mails by SMTP and stores each as one `.eml` file, written atomically.

SMTP delivers at least once: a sender that dies after the server's 250 and before it records that sends again, with
the same Message-ID. As mail stores do, the sink accepts and counts a mail with the same Message-ID and recipients,
but does not store it again.
"""

import asyncio
import time
import uuid
from dataclasses import asdict, dataclass, replace
from email import policy
from email.header import decode_header, make_header
from email.parser import BytesHeaderParser, BytesParser
from pathlib import Path
from typing import Any, cast

from aiosmtpd.smtp import SMTP, Envelope, Session

from lab.files import write_atomic

MAIL_BYTES_MAX = 1024 * 1024
SHOWN_AT_START = (
    2000  # mails of earlier labs: each needs about 1 kB of memory, and a container has 56 MB
)


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail; `id` is its file's stem, `received_s` in Unix seconds, `repeats` counts repeated deliveries."""

    id: str
    received_s: float
    sender: str
    recipients: str
    subject: str
    message_id: str
    repeats: int = 0


class Mailbox:
    """The mails of a folder, oldest first: the newest SHOWN_AT_START at the start, and all later ones."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for unfinished in folder.glob(".*.tmp"):
            unfinished.unlink()
        self._mails: dict[str, Mail] = {}
        self._ids: dict[tuple[str, str], str] = {}
        for path in sorted(folder.glob("*.eml"))[-SHOWN_AT_START:]:
            self._list(_summary(path.stem, path.read_bytes(), path.stat().st_mtime))

    def add(self, content: bytes, sender: str, recipients: list[str]) -> Mail:
        """Stores a mail, or counts a repeated one; the envelope becomes headers of the file. Raises OSError."""
        envelope = f"X-Envelope-From: {sender}\r\nX-Envelope-To: {', '.join(recipients)}\r\n"
        content = envelope.encode() + content
        name = f"{time.time_ns():019d}-{uuid.uuid4().hex[:8]}"
        mail = _summary(name, content)
        if known := self._ids.get(_identity(mail)):
            earlier = self._mails[known]
            self._mails[known] = replace(earlier, repeats=earlier.repeats + 1)
            return self._mails[known]
        write_atomic(self._folder / f"{name}.eml", content)
        self._list(mail)
        return mail

    def _list(self, mail: Mail) -> None:
        self._mails[mail.id] = mail
        if mail.message_id:
            self._ids[_identity(mail)] = mail.id

    def all(self) -> list[Mail]:
        return list(self._mails.values())

    def read(self, name: str) -> tuple[Mail, bytes] | None:
        """Returns a mail and its file's content; None if there is no such mail."""
        mail = self._mails.get(name)
        return None if mail is None else (mail, (self._folder / f"{name}.eml").read_bytes())


def _summary(name: str, content: bytes, default_s: float = 0.0) -> Mail:
    """Reads a mail's headers; `name` starts with its time in ns, else it was received at `default_s`."""
    headers = BytesHeaderParser().parsebytes(content)  # the modern policy costs ten times as much
    nanoseconds = name.partition("-")[0]
    return Mail(
        id=name,
        received_s=int(nanoseconds) / 1e9 if nanoseconds.isdigit() else default_s,
        sender=_plain(headers.get("From") or headers.get("X-Envelope-From", "")),
        recipients=_plain(headers.get("X-Envelope-To") or headers.get("To", "")),
        subject=_plain(headers.get("Subject", "")),
        message_id=_plain(headers.get("Message-ID", "")),
    )


def _identity(mail: Mail) -> tuple[str, str]:
    """Equal for a mail and its repetition."""
    return mail.message_id, mail.recipients


def _plain(header: object) -> str:
    """A header's text, with encoded words decoded if possible."""
    text = str(header)
    try:
        return str(make_header(decode_header(text))) if "=?" in text else text
    except (LookupError, ValueError):
        return text


def text_of(content: bytes) -> str:
    """The readable part of a mail."""
    message = BytesParser(policy=policy.default).parsebytes(content)
    body = message.get_body(preferencelist=("plain", "html"))
    return str(body.get_content()) if body is not None else ""


def as_json(mail: Mail) -> dict[str, Any]:
    return asdict(mail)


class _Handler:
    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = cast(bytes, envelope.content)
        try:
            mail = self._mailbox.add(content, envelope.mail_from or "", envelope.rcpt_tos)
        except OSError as error:
            # 452 means try again later: the sender must not treat the mail as delivered
            return f"452 not stored: {error.strerror}"
        return f"250 stored as {mail.id}"


async def listen(mailbox: Mailbox, port: int, host: str = "127.0.0.1") -> asyncio.Server:
    """Receives mails. Raises OSError if the port is in use."""
    loop = asyncio.get_running_loop()

    def protocol() -> SMTP:
        # an explicit name, because a lookup of our own can take seconds
        return SMTP(
            _Handler(mailbox),
            hostname="breakwater",
            ident="Breakwater mail sink",
            data_size_limit=MAIL_BYTES_MAX,
            loop=loop,
        )

    return await loop.create_server(protocol, host, port)
