"""Sending what is due, on the real PostgreSQL, through a mail server with moods."""

import asyncio
from datetime import datetime, timedelta
from email.message import Message
from random import Random

import pytest
from asyncpg import Pool

from chassis.clock import SystemClock
from chassis.ids import new_id
from contracts.events import OrderConfirmed
from shop.notifications.domain import order_confirmed
from shop.notifications.sender import BATCH, CLAIM, Sender
from shop.notifications.smtp import MailRefusedError, MailServerDownError
from shop.notifications.store import MailStore


class HandClock(SystemClock):
    def __init__(self) -> None:
        self.at = datetime.fromisoformat("2026-01-01T00:00:00+00:00")

    def now(self) -> datetime:
        return self.at


class FakePost:
    """Keeps what it takes; `moods` maps a recipient to what it raises."""

    def __init__(self) -> None:
        self.taken: list[Message] = []
        self.moods: dict[str, Exception] = {}
        self.down = False

    async def send(self, message: Message) -> None:
        await asyncio.sleep(0)
        if self.down:
            raise MailServerDownError("connection refused")
        if mood := self.moods.get(str(message["To"])):
            raise mood
        self.taken.append(message)


class Office:
    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.store = MailStore(pool)
        self.clock = HandClock()
        self.post = FakePost()
        self.sender = self.another()

    def another(self) -> Sender:
        return Sender(self.store, self.post, self.clock, Random(1))

    async def write(self, email: str = "ann@example.com", event_id: str = "") -> str:
        """The id of the order that the mail is about."""
        event = OrderConfirmed(
            aggregate_id=new_id(), event_id=event_id or new_id(), user_id="u-1", email=email,
            total_cents=100,
        )  # fmt: skip
        async with self.pool.acquire() as conn, conn.transaction():
            mail = order_confirmed(event)
            await self.store.put(conn, mail, traceparent="", now=self.clock.now())
        return event.aggregate_id

    async def status(self, order_id: str) -> str:
        (mail,) = await self.store.of_order(order_id, None)
        return str(mail["status"])

    def wait(self, pause: timedelta) -> None:
        self.clock.at += pause


@pytest.fixture
def office(pool: Pool) -> Office:
    return Office(pool)


async def test_a_mail_is_sent_once_and_noted(office: Office) -> None:
    order = await office.write()
    for _ in range(3):
        await office.sender.round()
    assert await office.status(order) == "sent"
    assert len(office.post.taken) == 1


async def test_an_event_that_comes_twice_writes_one_mail(office: Office) -> None:
    for _ in range(2):
        await office.write(event_id="e-1")
    assert await office.store.pending() == 1


async def test_nothing_is_lost_while_the_server_is_down(office: Office) -> None:
    orders = [await office.write() for _ in range(3)]
    office.post.down = True
    for _ in range(4):
        await office.sender.round()
        office.wait(timedelta(seconds=6))
    assert await office.store.pending() == 3
    office.post.down = False
    await office.sender.round()
    assert [await office.status(order) for order in orders] == ["sent"] * 3


async def test_a_mail_that_the_server_refuses_for_good_fails_and_holds_up_nobody(
    office: Office,
) -> None:
    bad, good = await office.write("bad@example.com"), await office.write()
    office.post.moods["bad@example.com"] = MailRefusedError(True, "550 no such user")
    await office.sender.round()
    assert (await office.status(bad), await office.status(good)) == ("failed", "sent")


async def test_a_mail_that_is_put_off_is_tried_again_later(office: Office) -> None:
    order = await office.write()
    office.post.moods["ann@example.com"] = MailRefusedError(False, "451 try later")
    await office.sender.round()
    office.post.moods.clear()
    await office.sender.round()
    assert await office.status(order) == "pending"
    office.wait(timedelta(seconds=1))
    await office.sender.round()
    assert await office.status(order) == "sent"


async def test_a_mail_the_server_stumbles_over_does_not_block_the_others(office: Office) -> None:
    stone, good = await office.write("stone@example.com"), await office.write()
    office.post.moods["stone@example.com"] = MailServerDownError("connection lost")
    for _ in range(2):
        await office.sender.round()
    assert (await office.status(stone), await office.status(good)) == ("pending", "sent")


async def test_two_senders_never_send_the_same_mail(office: Office) -> None:
    for _ in range(2 * BATCH):
        await office.write()
    await asyncio.gather(office.sender.round(), office.another().round())
    ids = [message["Message-ID"] for message in office.post.taken]
    assert len(ids) == len(set(ids)) == 2 * BATCH


async def test_what_a_dead_sender_had_claimed_is_taken_over(office: Office) -> None:
    order = await office.write()
    now = office.clock.now()
    assert len(await office.store.claim(now=now, until=now + CLAIM, limit=5)) == 1
    await office.sender.round()
    assert await office.status(order) == "pending"
    office.wait(CLAIM)
    await office.sender.round()
    assert await office.status(order) == "sent"


async def test_a_user_sees_only_mails_of_their_own(office: Office) -> None:
    order = await office.write()
    assert len(await office.store.of_order(order, "u-1")) == 1
    assert await office.store.of_order(order, "u-2") == []
