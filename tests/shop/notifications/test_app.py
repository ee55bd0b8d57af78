"""Running notifications between the real broker and a real SMTP server: every mail arrives, once."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from email import policy
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from nats.aio.client import Client

from chassis.ids import new_id
from chassis.messaging import bus
from chassis.messaging.event import Event
from contracts.events import OrderCancelled, OrderConfirmed, UserRegistered
from lab.mail.sink import Mailbox, listen
from tests.fixtures.running import Running, RunningService
from tests.fixtures.servers import free_port

TRACE = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


async def until(condition: Callable[[], Awaitable[Any]], timeout_s: float = 15) -> Any:
    async with asyncio.timeout(timeout_s):
        while not (found := await condition()):
            await asyncio.sleep(0.02)
        return found


class Post:
    """A mailbox, its SMTP server (which can be stopped), and a way to publish."""

    def __init__(self, folder: Path, client: Client) -> None:
        self.mailbox = Mailbox(folder)
        self.port = free_port()
        self.client = client
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        self._server = await listen(self.mailbox, self.port)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()

    async def publish(self, event: Event, message_id: str | None = None) -> None:
        await bus.Bus(self.client).publish(
            f"events.{event.type}", event.model_dump_json().encode(), message_id or event.event_id,
            {"traceparent": TRACE},
        )  # fmt: skip

    async def mails(self, count: int) -> list[Any]:
        async def enough() -> bool:
            return len(self.mailbox.all()) >= count

        await until(enough)
        contents = [self.mailbox.read(mail.id) for mail in self.mailbox.all()]
        return [BytesParser(policy=policy.default).parsebytes(c[1]) for c in contents if c]


@pytest.fixture
async def post(tmp_path: Path, nats: str) -> AsyncIterator[Post]:
    client = await bus.connect(nats, "test")
    opened = Post(tmp_path / "mail", client)
    yield opened
    await opened.close()
    await client.close()


async def _start(running: Running, post: Post) -> RunningService:
    return await running("notifications", SMTP_URL=f"smtp://127.0.0.1:{post.port}")


def confirmed(**fields: Any) -> OrderConfirmed:
    defaults = {"user_id": new_id(), "email": "ada@example.com", "total_cents": 1234}
    return OrderConfirmed(aggregate_id=new_id(), **(defaults | fields))


async def _items(service: RunningService, order_id: str, token: str) -> list[dict[str, Any]]:
    headers = {"Authorization": f"Bearer {token}"}
    url = f"{service.url}/notifications?order_id={order_id}"
    async with aiohttp.ClientSession() as http, http.get(url, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        items: list[dict[str, Any]] = (await answer.json())["items"]
        return items


async def test_each_event_becomes_a_mail_of_its_trace(running: Running, post: Post) -> None:
    await post.open()
    service = await _start(running, post)
    event = confirmed()
    await post.publish(UserRegistered(aggregate_id=new_id(), email="bob@example.com", name="Bob"))
    await post.publish(event)
    await post.publish(
        OrderCancelled(
            aggregate_id=new_id(), user_id=new_id(), email="eve@example.com", reason="customer"
        )
    )
    mails = {mail["Subject"]: mail for mail in await post.mails(3)}
    assert set(mails) == {
        "Welcome to Breakwater",
        "Your order is confirmed",
        "Your order was cancelled",
    }
    mail = mails["Your order is confirmed"]
    assert mail["To"] == "ada@example.com"
    assert mail["X-Trace-Id"] == "a" * 32
    assert mail["X-Order-Id"] == event.aggregate_id
    assert "12.34 EUR" in mail.get_body(("plain",)).get_content()

    async def sent() -> bool:
        items = await _items(service, event.aggregate_id, service.service_token("gateway"))
        return [item["status"] for item in items] == ["sent"]

    await until(sent)


async def test_an_event_delivered_twice_is_one_mail(running: Running, post: Post) -> None:
    await post.open()
    await _start(running, post)
    event = confirmed()
    await post.publish(event)
    await post.publish(event, message_id="the broker repeats itself")
    await post.publish(confirmed())
    await post.mails(2)
    assert len({mail.message_id for mail in post.mailbox.all()}) == len(post.mailbox.all()) == 2


async def test_with_the_mail_server_down_nothing_is_lost_and_the_mail_comes_later(
    running: Running, post: Post
) -> None:
    service = await _start(running, post)
    event = confirmed()
    await post.publish(event)
    token = service.service_token("gateway")

    async def waits() -> bool:
        return [item["status"] for item in await _items(service, event.aggregate_id, token)] == [
            "pending"
        ]

    await until(waits)
    await post.open()
    assert [mail["X-Order-Id"] for mail in await post.mails(1)] == [event.aggregate_id]


async def test_a_killed_service_sends_what_it_had_taken_when_it_is_back(
    running: Running, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await _start(running, post)
    event = confirmed()
    await post.publish(event)
    token = first.service_token("gateway")

    async def taken() -> bool:
        return bool(await _items(first, event.aggregate_id, token))

    await until(taken)
    first.stop(signal.SIGKILL)
    await post.open()
    await _start(running, post)
    assert [mail["X-Order-Id"] for mail in await post.mails(1)] == [event.aggregate_id]


async def test_a_user_sees_the_mails_of_their_own_orders_alone(
    running: Running, post: Post
) -> None:
    await post.open()
    service = await _start(running, post)
    event = confirmed()
    await post.publish(event)
    await post.mails(1)
    assert len(await _items(service, event.aggregate_id, service.user_token(event.user_id))) == 1
    assert await _items(service, event.aggregate_id, service.user_token("somebody-else")) == []
