"""The server's side of SMTP (RFC 5321).

With PIPELINING and CHUNKING (RFC 2920, 3030) a client may send many mails in one write.
"""

import asyncio
import re
from collections.abc import Callable

MAIL_BYTES_MAX = 1024 * 1024
LINE_BYTES_MAX = 4096
RECIPIENTS_MAX = 100
GREETING = "220 breakwater mail sink"
EXTENSIONS = ("PIPELINING", "CHUNKING", f"SIZE {MAIL_BYTES_MAX}", "8BITMIME", "SMTPUTF8")
_PATH = re.compile(r"(?:FROM|TO):\s*<([^<>]*)>(.*)", re.IGNORECASE)
_SIZE = re.compile(r"SIZE=(\d+)", re.IGNORECASE)
_CHUNK = re.compile(r"(\d{1,9})(\s+LAST)?", re.IGNORECASE)
Deliver = Callable[[bytes, str, list[str]], str]


class SmtpSession(asyncio.Protocol):
    """One connection. `deliver(content, sender, recipients)` stores a mail and returns the reply."""

    def __init__(self, deliver: Deliver) -> None:
        self._deliver = deliver
        self._transport: asyncio.Transport
        self._received = bytearray()
        self._replies: list[str] = []
        self._greeted = False
        self._sender: str | None = None
        self._recipients: list[str] = []
        self._content = bytearray()
        self._chunk: tuple[int, bool] | None = None  # bytes to come, and whether they are the last
        self._in_data = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._reply(GREETING)
        self._flush()

    def data_received(self, data: bytes) -> None:
        self._received += data
        while not self._transport.is_closing() and self._take():
            pass
        self._flush()

    def _take(self) -> bool:
        """Process the next command or mail; False if it is not complete yet."""
        if self._chunk is not None:
            return self._take_chunk(*self._chunk)
        if self._in_data:
            return self._take_data()
        line, end, rest = self._received.partition(b"\n")
        if len(line) > LINE_BYTES_MAX:
            self._close("500 line too long")
        elif end:
            self._received = rest
            verb, _, argument = line.decode(errors="replace").strip().partition(" ")
            self._command(verb.upper(), argument.strip())
            return True
        return False

    def _command(self, verb: str, argument: str) -> None:
        if verb in ("EHLO", "HELO"):
            self._greeted = True
            self._reset()
            lines = ["breakwater", *(EXTENSIONS if verb == "EHLO" else ())]
            for line in lines[:-1]:
                self._reply(f"250-{line}")
            self._reply(f"250 {lines[-1]}")
        elif verb == "QUIT":
            self._close("221 bye")
        elif not self._greeted:
            # as a browser, which can send an HTTP request to any port, with SMTP in its body
            self._close("554 EHLO first")
        elif verb == "MAIL":
            self._mail(argument)
        elif verb == "RCPT":
            self._rcpt(argument)
        elif verb == "DATA":
            self._in_data = bool(self._recipients)
            self._reply("354 end with a dot" if self._in_data else "503 RCPT first")
        elif verb == "BDAT":
            self._bdat(argument)
        elif verb == "RSET":
            self._reset()
            self._reply("250 OK")
        elif verb in ("NOOP", "VRFY"):
            self._reply("250 OK" if verb == "NOOP" else "252 send some mail")
        else:
            self._reply("500 unknown command")

    def _mail(self, argument: str) -> None:
        path = _PATH.fullmatch(argument)
        size = _SIZE.search(path[2]) if path else None
        if path is None:
            self._reply("501 expected MAIL FROM:<address>")
        elif self._sender is not None:
            self._reply("503 there is a mail already")
        elif size and int(size[1]) > MAIL_BYTES_MAX:
            self._reply("552 the mail is too large")
        else:
            self._sender = path[1]
            self._reply("250 OK")

    def _rcpt(self, argument: str) -> None:
        path = _PATH.fullmatch(argument)
        if self._sender is None:
            self._reply("503 MAIL first")
        elif path is None or not path[1]:
            self._reply("501 expected RCPT TO:<address>")
        elif len(self._recipients) >= RECIPIENTS_MAX:
            self._reply("452 too many recipients")
        else:
            self._recipients.append(path[1])
            self._reply("250 OK")

    def _bdat(self, argument: str) -> None:
        chunk = _CHUNK.fullmatch(argument)
        if chunk is None or int(chunk[1]) + len(self._content) > MAIL_BYTES_MAX:
            self._close("552 the mail is too large" if chunk else "501 expected BDAT bytes [LAST]")
        else:
            self._chunk = int(chunk[1]), chunk[2] is not None

    def _take_chunk(self, size: int, last: bool) -> bool:
        if len(self._received) < size:
            return False
        self._content += self._received[:size]
        del self._received[:size]
        self._chunk = None
        if not self._recipients:  # its bytes are skipped all the same
            self._content = bytearray()
            self._reply("503 RCPT first")
        elif last:
            self._finish(bytes(self._content))
        else:
            self._reply("250 OK")
        return True

    def _take_data(self) -> bool:
        if self._received.startswith(b".\r\n"):
            end, content = 0, b""
        elif (end := self._received.find(b"\r\n.\r\n")) >= 0:
            content = bytes(self._received[: end + 2])
            end += 2
        elif len(self._received) > MAIL_BYTES_MAX:
            self._close("552 the mail is too large")
            return False
        else:
            return False
        del self._received[: end + 3]
        self._in_data = False
        undotted = content.replace(b"\r\n.", b"\r\n")
        self._finish(undotted[1:] if content.startswith(b".") else undotted)
        return True

    def _finish(self, content: bytes) -> None:
        if len(content) > MAIL_BYTES_MAX:
            self._reply("552 the mail is too large")
        else:
            self._reply(self._deliver(content, self._sender or "", self._recipients))
        self._reset()

    def _reset(self) -> None:
        """No mail is in progress."""
        self._sender, self._recipients = None, []
        self._content, self._chunk, self._in_data = bytearray(), None, False

    def _reply(self, line: str) -> None:
        self._replies.append(line)

    def _flush(self) -> None:
        """Send the replies to all that has come, in one write."""
        if self._replies:
            self._transport.write("".join(f"{line}\r\n" for line in self._replies).encode())
            self._replies.clear()

    def _close(self, line: str) -> None:
        self._reply(line)
        self._flush()
        self._transport.close()
