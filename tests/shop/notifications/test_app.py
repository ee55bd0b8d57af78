"""The running notifications: events from the real broker, mails to a real SMTP server."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Iterator
from email import message_from_bytes
from email.message import Message
from typing import Any

import nats as nats_py
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from chassis.ids import new_id
from chassis.messaging.bus import Bus, ensure_streams
from chassis.messaging.event import Event
from contracts.events import OrderCancelled, OrderConfirmed, UserRegistered
from tests.fixtures.running import Running, RunningService
from tests.fixtures.servers import free_port
from tests.fixtures.waiting import wait_until_async
from tests.shop.service_calls import add_fault, call

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"


class MailServer:
    """A mail server that can be stopped and restarted on its port."""

    def __init__(self) -> None:
        self.mails: list[Message] = []
        self.connections = 0
        self.port = free_port()
        self._controller: Controller | None = None

    def start(self) -> None:
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)
        self._controller.start()

    def stop(self) -> None:
        if self._controller is not None:
            self._controller.stop()
            self._controller = None

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str,
        responses: list[str],
    ) -> list[str]:  # fmt: skip
        self.connections += 1
        session.host_name = hostname
        return responses

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        self.mails.append(message_from_bytes(envelope.content))
        return "250 OK"

    def of(self, order_id: str) -> list[Message]:
        return [mail for mail in self.mails if mail["X-Order-Id"] == order_id]


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    server = MailServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def notifications(running: Running, mail_server: MailServer) -> RunningService:
    return await running("notifications", SMTP_URL=f"smtp://127.0.0.1:{mail_server.port}")


@pytest.fixture
async def bus(nats: str, notifications: RunningService) -> AsyncIterator[Bus]:
    client = await nats_py.connect(nats)
    bus = Bus(client)
    await ensure_streams(bus.js)
    yield bus
    await client.close()


async def publish(bus: Bus, event: Event, message_id: str = "") -> None:
    payload = event.model_dump_json().encode()
    headers = {"traceparent": TRACEPARENT}
    await bus.publish(f"events.{event.type}", payload, message_id or event.event_id, headers)


def confirmed(user_id: str = "") -> OrderConfirmed:
    return OrderConfirmed(
        aggregate_id=new_id(), user_id=user_id or new_id(), email="ann@example.com", total_cents=995
    )


async def statuses(service: RunningService, event: OrderConfirmed) -> list[str]:
    """Of the mails about the order, as its user sees them."""
    path = f"/notifications?order_id={event.aggregate_id}"
    answer = await call(service, "GET", path, token=service.user_token(event.user_id))
    return [item["status"] for item in answer.body["items"]]


async def sent(service: RunningService, event: OrderConfirmed) -> bool:
    return await statuses(service, event) == ["sent"]


async def test_each_event_becomes_a_mail_in_the_trace_of_its_order(
    notifications: RunningService, bus: Bus, mail_server: MailServer
) -> None:
    cancelled = OrderCancelled(
        aggregate_id=new_id(), user_id=new_id(), email="bob@example.com", reason="out_of_stock"
    )
    registered = UserRegistered(aggregate_id=new_id(), email="eve@example.com", name="Eve")
    for event in (confirmed(), cancelled, registered):
        await publish(bus, event)

    async def three() -> bool:
        return len(mail_server.mails) == 3

    await wait_until_async(three, "three mails")
    assert {mail["X-Trace-Id"] for mail in mail_server.mails} == {TRACE_ID}
    assert mail_server.of(cancelled.aggregate_id)[0]["To"] == "bob@example.com"
    assert mail_server.connections == 1, "the connection is reused"


async def test_an_event_delivered_twice_makes_one_mail(
    notifications: RunningService, bus: Bus, mail_server: MailServer
) -> None:
    first, last = confirmed(), confirmed()
    await publish(bus, first)
    await publish(
        bus, first, message_id=new_id()
    )  # another id, to pass the broker's own deduplication
    await publish(bus, last)
    await wait_until_async(lambda: sent(notifications, last), "the last mail")
    # mails that are due together are sent in any order
    await wait_until_async(lambda: sent(notifications, first), "the first mail")
    assert len(mail_server.of(first.aggregate_id)) == 1


async def test_mails_wait_for_a_mail_server_that_is_down(
    notifications: RunningService, bus: Bus, mail_server: MailServer
) -> None:
    mail_server.stop()
    event = confirmed()
    await publish(bus, event)

    async def written() -> bool:
        return len(await statuses(notifications, event)) == 1

    await wait_until_async(written, "the mail is written down")
    assert not await sent(notifications, event)
    mail_server.start()
    await wait_until_async(lambda: sent(notifications, event), "the mail goes out")
    (mail,) = mail_server.of(event.aggregate_id)
    assert mail["Message-ID"] == f"<{event.event_id}@breakwater.example>"


@pytest.mark.slow
async def test_after_a_kill_the_mail_is_sent_again_with_the_same_message_id(
    notifications: RunningService, bus: Bus, mail_server: MailServer, running: Running
) -> None:
    await add_fault(
        notifications, kind="crash", point="failpoint",
        scope={"failpoint": "notifications.after_send"},
    )  # fmt: skip
    event = confirmed()
    await publish(bus, event)

    async def arrived() -> bool:
        return len(mail_server.of(event.aggregate_id)) == 1

    await wait_until_async(arrived, "the first mail")
    assert await asyncio.to_thread(notifications.stop) == -signal.SIGKILL
    again = await running("notifications", SMTP_URL=f"smtp://127.0.0.1:{mail_server.port}")
    await wait_until_async(lambda: sent(again, event), "the mail is noted as sent", timeout_s=25)
    assert len({mail["Message-ID"] for mail in mail_server.of(event.aggregate_id)}) == 1


@pytest.mark.slow
async def test_an_event_without_an_address_becomes_a_dead_letter(
    notifications: RunningService, bus: Bus
) -> None:
    poison = confirmed().model_copy(update={"email": "no address"})
    dead = await bus.js.subscribe("dead.notifications.OrderConfirmed")
    await publish(bus, poison)
    letter = await dead.next_msg(timeout=20)
    assert json.loads(letter.data)["event_id"] == poison.event_id
    good = confirmed()
    await publish(bus, good)
    await wait_until_async(lambda: sent(notifications, good), "the next mail")


async def test_only_its_user_sees_a_notification(notifications: RunningService, bus: Bus) -> None:
    user_id = new_id()
    event = confirmed(user_id)
    await publish(bus, event)
    await wait_until_async(lambda: sent(notifications, event), "the mail")
    path = f"/notifications?order_id={event.aggregate_id}"

    async def items(token: str) -> list[dict[str, Any]]:
        answer = await call(notifications, "GET", path, token=token)
        return list(answer.body["items"])

    (own,) = await items(notifications.user_token(user_id))
    assert set(own) == {"id", "kind", "order_id", "status", "created_at", "sent_at"}
    assert await items(notifications.user_token(new_id())) == []
    assert (await call(notifications, "GET", path, token="nonsense")).status == 401
    user = notifications.user_token(user_id)
    wrong = await call(notifications, "GET", "/notifications?order_id=7", token=user)
    assert wrong.status == 422
    assert (await call(notifications, "GET", path)).status == 403


async def test_without_a_durable_consumer_it_has_the_rights_that_it_needs(
    running: Running, nats: str, mail_server: MailServer
) -> None:
    smtp = f"smtp://127.0.0.1:{mail_server.port}"
    await running("notifications", SMTP_URL=smtp, DURABLE_CONSUMER="off")
    client = await nats_py.connect(nats)

    async def arrives() -> bool:
        await publish(Bus(client), confirmed())  # an event from before the consumer is lost
        return bool(mail_server.mails)

    await wait_until_async(arrives, "a mail")
    await client.close()
