"""Takes mails by SMTP and keeps each as one `.eml` file, there whole or not at all."""

import asyncio
import time
import uuid
from dataclasses import asdict, dataclass
from email import policy
from email.header import decode_header, make_header
from email.parser import BytesHeaderParser, BytesParser
from pathlib import Path
from typing import Any, cast

from aiosmtpd.smtp import SMTP, Envelope, Session

MAIL_BYTES_MAX = 1024 * 1024


@dataclass(frozen=True)
class Mail:
    """One mail's summary; `id` is its file's stem, `received_s` epoch seconds."""

    id: str
    received_s: float
    sender: str
    recipients: str
    subject: str
    message_id: str


class Mailbox:
    """The mails of a folder, oldest first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for unfinished in folder.glob(".*.tmp"):
            unfinished.unlink()
        found = (self._summary(path) for path in sorted(folder.glob("*.eml")))
        self._mails = {mail.id: mail for mail in found}

    def add(self, content: bytes, sender: str, recipients: list[str]) -> Mail:
        """Keep a mail; the envelope becomes headers of the file. Raises OSError."""
        name = f"{time.time_ns():019d}-{uuid.uuid4().hex[:8]}"
        envelope = f"X-Envelope-From: {sender}\r\nX-Envelope-To: {', '.join(recipients)}\r\n"
        path = self._folder / f"{name}.eml"
        written = self._folder / f".{name}.tmp"
        written.write_bytes(envelope.encode() + content)
        written.replace(path)
        mail = self._mails[name] = self._summary(path)
        return mail

    def all(self) -> list[Mail]:
        return list(self._mails.values())

    def read(self, name: str) -> tuple[Mail, bytes] | None:
        """A mail and its file's content; None if there is no such mail."""
        mail = self._mails.get(name)
        return None if mail is None else (mail, (self._folder / f"{name}.eml").read_bytes())

    def _summary(self, path: Path) -> Mail:
        with path.open("rb") as file:
            headers = BytesHeaderParser().parse(file)  # the modern policy costs ten times as much
        nanoseconds = path.stem.partition("-")[0]
        received_s = int(nanoseconds) / 1e9 if nanoseconds.isdigit() else path.stat().st_mtime
        return Mail(
            id=path.stem,
            received_s=received_s,
            sender=_plain(headers.get("From") or headers.get("X-Envelope-From", "")),
            recipients=_plain(headers.get("X-Envelope-To") or headers.get("To", "")),
            subject=_plain(headers.get("Subject", "")),
            message_id=_plain(headers.get("Message-ID", "")),
        )


def _plain(header: object) -> str:
    """A header's text, its encoded words decoded where they can be."""
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
            # 452: try again later; a sender must not believe that it was kept
            return f"452 not kept: {error.strerror}"
        return f"250 kept as {mail.id}"


async def listen(mailbox: Mailbox, port: int, host: str = "127.0.0.1") -> asyncio.Server:
    """Take mails. Raises OSError if the port is taken."""
    loop = asyncio.get_running_loop()

    def protocol() -> SMTP:
        # the name is given: looking up our own can take seconds
        return SMTP(
            _Handler(mailbox),
            hostname="breakwater",
            ident="Breakwater mail sink",
            data_size_limit=MAIL_BYTES_MAX,
            loop=loop,
        )

    return await loop.create_server(protocol, host, port)
