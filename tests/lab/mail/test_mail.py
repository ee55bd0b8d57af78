"""The mail sink receives mails by SMTP, stores them as files and shows them."""

import asyncio
import json
from collections.abc import AsyncIterator
from email.message import EmailMessage
from email.utils import make_msgid
from pathlib import Path

import aiohttp
import aiosmtplib
import pytest

from lab import httpd
from lab.mail.page import Page
from lab.mail.sink import Mailbox, listen
from tests.fixtures.servers import free_port


@pytest.fixture
async def ports(tmp_path: Path) -> AsyncIterator[tuple[int, int]]:
    mailbox = Mailbox(tmp_path / "mail")
    smtp_port, page_port = free_port(), free_port()
    smtp = await listen(mailbox, smtp_port)
    page = await httpd.serve(Page(mailbox).answer, page_port)
    yield smtp_port, page_port
    smtp.close()
    page.close()


async def send(port: int, subject: str, text: str, message_id: str = "") -> None:
    message = EmailMessage()
    message["From"], message["To"] = "shop@example.com", "ada@example.com"
    message["Message-ID"] = message_id or make_msgid()
    message["Subject"] = subject
    message.set_content(text)
    await aiosmtplib.send(message, hostname="127.0.0.1", port=port)


async def get(port: int, path: str) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}{path}") as r,
    ):
        return r.status, await r.text()


async def test_a_mail_sent_by_smtp_is_a_file_and_can_be_read(
    ports: tuple[int, int], tmp_path: Path
) -> None:
    await send(ports[0], "Your order", "It is confirmed: größer als gedacht")
    files = list((tmp_path / "mail").iterdir())
    assert [file.suffix for file in files] == [".eml"]
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{ports[1]}/api/mails") as answer:
            listed = await answer.json()
        assert listed["count"] == 1
        mail = listed["mails"][0]
        assert (mail["recipients"], mail["subject"]) == ("ada@example.com", "Your order")
        async with session.get(f"http://127.0.0.1:{ports[1]}/api/mails/{mail['id']}") as answer:
            assert "größer als gedacht" in (await answer.json())["text"]
    status, page = await get(ports[1], "/")
    assert status == 200
    assert "Your order" in page


async def test_a_repeated_mail_is_accepted_and_stored_once(
    ports: tuple[int, int], tmp_path: Path
) -> None:
    for _ in range(3):
        await send(ports[0], "Your order", "It is confirmed", "<event-1@shop>")
    await send(ports[0], "Your order", "It is confirmed", "<event-2@shop>")
    _, listed = await get(ports[1], "/api/mails")
    mails = [(mail["message_id"], mail["repeats"]) for mail in json.loads(listed)["mails"]]
    assert mails == [("<event-1@shop>", 2), ("<event-2@shop>", 0)]
    assert len(list((tmp_path / "mail").iterdir())) == 2
    assert (
        "delivered once"
        in (await get(ports[1], f"/mails/{json.loads(listed)['mails'][0]['id']}"))[1]
    )


def test_a_mail_repeated_after_a_restart_is_stored_once(tmp_path: Path) -> None:
    for number in range(2):
        again = Mailbox(tmp_path).add(b"Message-ID: <1@shop>\r\n\r\nx", "", ["b@example.com"])
        assert again.repeats == number
    assert (
        Mailbox(tmp_path).add(b"Message-ID: <1@shop>\r\n\r\nx", "", ["c@example.com"]).repeats == 0
    )
    assert len(list(tmp_path.iterdir())) == 2


async def test_html_of_a_mail_does_not_run_in_the_page(ports: tuple[int, int]) -> None:
    await send(ports[0], "<script>alert(1)</script>", "<script>alert(2)</script>")
    _, page = await get(ports[1], "/")
    name = page.partition('href="/mails/')[2].partition('"')[0]
    _, mail = await get(ports[1], f"/mails/{name}")
    assert "<script>" not in page + mail
    assert "&lt;script&gt;alert(2)" in mail


async def test_an_unknown_mail_id_reads_no_file(ports: tuple[int, int], tmp_path: Path) -> None:
    (tmp_path / "secret.eml").write_text("secret")
    status, text = await get(ports[1], "/mails/..%2Fsecret.eml")
    assert status == 404
    assert "no mail" in text


def test_a_restart_lists_the_mails_and_deletes_unfinished_files(tmp_path: Path) -> None:
    Mailbox(tmp_path).add(b"Subject: kept\r\n\r\nx", "a@example.com", ["b@example.com"])
    (tmp_path / ".1-abc.tmp").write_bytes(b"Subject: ha")
    assert [mail.subject for mail in Mailbox(tmp_path).all()] == ["kept"]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_start_with_many_mails_lists_the_newest_and_deletes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Mailbox(tmp_path)
    for number in range(5):
        first.add(f"Subject: {number}\r\n\r\nx".encode(), "a@example.com", ["b@example.com"])
    monkeypatch.setattr("lab.mail.sink.SHOWN_AT_START", 2)
    again = Mailbox(tmp_path)
    again.add(b"Subject: new\r\n\r\nx", "a@example.com", ["b@example.com"])
    assert [mail.subject for mail in again.all()] == ["3", "4", "new"]
    assert len(list(tmp_path.glob("*.eml"))) == 6


async def test_a_web_page_cannot_deliver_a_mail(ports: tuple[int, int], tmp_path: Path) -> None:
    """A browser can send an HTTP request to any port, with lines of SMTP in its body."""
    smtp = b"EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\nhi\r\n.\r\n"
    headers = ["Host: 127.0.0.1", "Connection: keep-alive", f"Content-Length: {len(smtp)}"]
    headers += ["User-Agent: Mozilla/5.0", "Content-Type: text/plain", "Accept: */*"]
    headers += ["Origin: https://example.org", "Sec-Fetch-Mode: no-cors"]
    reader, writer = await asyncio.open_connection("127.0.0.1", ports[0])
    writer.write("\r\n".join(["POST / HTTP/1.1", *headers, "", ""]).encode() + smtp)
    assert b"250 OK" not in await reader.read()
    writer.close()
    assert list((tmp_path / "mail").iterdir()) == []


async def test_a_page_that_leads_its_name_to_loopback_reads_no_mail(ports: tuple[int, int]) -> None:
    url = f"http://127.0.0.1:{ports[1]}/api/mails"
    async with aiohttp.ClientSession() as http:
        for host, status in ((f"localhost:{ports[1]}", 200), ("rebound.example.org", 421)):
            async with http.get(url, headers={"Host": host}) as answer:
                assert answer.status == status
