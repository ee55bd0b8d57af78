"""The SMTP client against a real server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from shop.notifications.smtp import Letter, MailRefusedError, MailServerDownError, SmtpClient
from tests.fixtures.servers import free_port

BAD = "bad@example.com"


class Server:
    """A mail server on a port. It refuses the mails to BAD."""

    def __init__(self) -> None:
        self.port = free_port()
        self.taken: list[tuple[str, bytes]] = []
        self.connections = 0

    def deliver(self, content: bytes, recipients: list[str]) -> str:
        if recipients == [BAD]:
            return "550 no such user"
        self.taken.append((recipients[0], content))
        return "250 OK"

    async def start(self) -> None:
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)
        self._controller.start()

    async def stop(self) -> None:
        self._controller.stop()

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str,
        responses: list[str],
    ) -> list[str]:  # fmt: skip
        self.connections += 1
        session.host_name = hostname
        return responses

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        return self.deliver(envelope.content, envelope.rcpt_tos)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[SmtpClient]:
    opened = SmtpClient(f"smtp://127.0.0.1:{server.port}")
    yield opened
    opened.close()


def letter(recipient: str) -> Letter:
    return Letter(recipient, b"Subject: x\r\n\r\n.\r\n..\r\n.b\r\n")


async def test_all_mails_arrive_as_they_are_on_one_connection(
    server: Server, client: SmtpClient
) -> None:
    wanted = ["ä@example.com", *(f"{number}@example.com" for number in range(19))]
    for each in wanted:
        await client.send(letter(each))
    assert server.taken == [(each, letter(each).content) for each in wanted]
    assert server.connections == 1


@pytest.mark.parametrize("bad", [BAD, "a@example.com>\r\nRCPT TO:<b@example.com"])
async def test_a_refused_mail_does_not_harm_the_others(
    server: Server, client: SmtpClient, bad: str
) -> None:
    await client.send(letter("a@example.com"))
    with pytest.raises(MailRefusedError) as refused:
        await client.send(letter(bad))
    assert refused.value.permanent
    await client.send(letter("b@example.com"))
    assert [recipient for recipient, _ in server.taken] == ["a@example.com", "b@example.com"]


async def test_a_server_that_is_down_is_found_again(server: Server, client: SmtpClient) -> None:
    await client.send(letter("a@example.com"))
    await server.stop()
    with pytest.raises(MailServerDownError):
        await client.send(letter("b@example.com"))
    await server.start()
    await client.send(letter("c@example.com"))


async def test_a_connection_that_the_server_closed_is_opened_again(
    server: Server, client: SmtpClient
) -> None:
    await client.send(letter("a@example.com"))
    await server.stop()
    await server.start()
    await client.send(letter("b@example.com"))
    assert server.connections == 2


@asynccontextmanager
async def answering(*replies: bytes) -> AsyncIterator[SmtpClient]:
    """A client of a server that sends the first reply at once, one for each line, and then closes."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number, reply in enumerate(replies):
            if number:
                await reader.readline()
            writer.write(reply)
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as listening:
        client = SmtpClient(f"smtp://127.0.0.1:{listening.sockets[0].getsockname()[1]}")
        yield client
        client.close()


@pytest.mark.parametrize(
    "replies",
    [
        [b""],
        [b"421 closing\r\n"],
        [b"554 no service\r\n"],
        [b"nonsense\r\n"],
        [b"\xff\r\n"],
        [b"220 hello\r\n", b"421 closing\r\n", b"421 closing\r\n"],
        [b"220 hello\r\n", b"502 no\r\n", b"502 no\r\n", b"250 OK\r\n"],
        [b"220 hello\r\n", b"250 x\r\n", b"421 closing\r\n", b"250 OK\r\n"],
        [b"220 hello\r\n", b"250 x\r\n", b"nonsense\r\n", b"250 OK\r\n"],
        [b"220 hello\r\n", b"250 x\r\n", b"250 OK\r\n", b"421 closing\r\n", b"250 OK\r\n"],
        [b"220 hello\r\n", b"250 x\r\n", b"250 OK\r\n", b"250 OK\r\n", b"354 go on\r\n"],
    ],
)
async def test_a_server_that_does_not_work_is_down(replies: list[bytes]) -> None:
    async with answering(*replies) as client:
        with pytest.raises(MailServerDownError):
            await client.send(letter("a@example.com"))


async def test_the_reason_of_a_refusal_can_be_stored_although_it_is_no_text() -> None:
    async with answering(b"220 hello\r\n", b"250 x\r\n", b"550 \xff\r\n", b"250 OK\r\n") as client:
        with pytest.raises(MailRefusedError, match=r"550 \?"):
            await client.send(letter("a@example.com"))


@pytest.mark.parametrize("url", ["http://x", "smtp://", "x"])
def test_an_url_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="SMTP_URL"):
        SmtpClient(url)
