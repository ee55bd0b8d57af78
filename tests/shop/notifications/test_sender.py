"""The sender on the real PostgreSQL, with a fake mail server that can fail."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from email import message_from_bytes
from email.message import Message
from random import Random

import pytest
from asyncpg import Pool

from chassis.clock import SystemClock
from chassis.ids import new_id
from chassis.messaging.effects import Consumed, take_effect
from contracts.events import OrderConfirmed
from shop.notifications.handlers import handlers
from shop.notifications.sender import BATCH, Sender
from shop.notifications.smtp import Letter, MailRefusedError, MailServerDownError
from shop.notifications.store import CLAIM, MailRow, MailStore
from tests.fixtures.waiting import wait_until_async


class ManualClock(SystemClock):
    def __init__(self) -> None:
        self.at = datetime.fromisoformat("2026-01-01T00:00:00+00:00")

    def now(self) -> datetime:
        return self.at


class FakeMailServer:
    """Keeps accepted mails. `errors` maps a recipient to the error that it gets."""

    def __init__(self) -> None:
        self.taken: list[Message] = []
        self.errors: dict[str, MailRefusedError | MailServerDownError] = {}
        self.down = False
        self.before_each: Callable[[], None] = lambda: None

    async def send(self, letter: Letter) -> None:
        await asyncio.sleep(0)
        self.before_each()
        if self.down:
            raise MailServerDownError("connection refused")
        if error := self.errors.get(letter.recipient):
            raise error
        self.taken.append(message_from_bytes(letter.content))


class Fixture:
    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.store = MailStore(pool)
        self.clock = ManualClock()
        self.server = FakeMailServer()
        self.sender = self.another()

    def another(self) -> Sender:
        return Sender(self.store, self.server, self.clock, Random(1))

    async def write(
        self, email: str = "ann@example.com", event_id: str = "", sender: Sender | None = None
    ) -> str:
        """Store a mail and return its order's id. It is handed over to `sender`, else it is due."""
        event = OrderConfirmed(
            aggregate_id=new_id(), event_id=event_id or new_id(), user_id="u-1", email=email,
            total_cents=100,
        )  # fmt: skip
        rows: list[MailRow] = []
        handler = handlers(self.clock.now, rows.extend)[OrderConfirmed]
        await take_effect(self.pool, [Consumed(event, handler)])
        if sender is None:  # as after the crash of the instance that stored it
            ids = [row.id for row in rows]
            await self.store.unclaim(ids, due_at=self.clock.now())
        else:
            sender.stored(rows)
        return event.aggregate_id

    async def status(self, order_id: str) -> str:
        (mail,) = await self.store.of_order(order_id, "u-1")
        return str(mail["status"])

    def wait(self, pause: timedelta) -> None:
        self.clock.at += pause


@pytest.fixture
def fixture(pool: Pool) -> Fixture:
    return Fixture(pool)


async def test_a_mail_is_sent_once_and_marked_as_sent(fixture: Fixture) -> None:
    order = await fixture.write()
    for _ in range(3):
        await fixture.sender.round()
    assert await fixture.status(order) == "sent"
    assert len(fixture.server.taken) == 1


async def test_an_event_that_comes_twice_stores_one_mail(fixture: Fixture) -> None:
    for _ in range(2):
        await fixture.write(event_id="e-1")
    assert await fixture.store.pending() == 1


async def test_a_stored_mail_wakes_the_sender(
    fixture: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shop.notifications.sender.LOOK_S", 600.0)
    async with asyncio.TaskGroup() as group:
        sending = group.create_task(fixture.sender.run())
        for count in (1, 2):
            order = await fixture.write(sender=fixture.sender)

            async def is_sent(order: str = order) -> bool:
                return await fixture.status(order) == "sent"

            await wait_until_async(is_sent, f"mail {count}")
        sending.cancel()


async def test_a_new_mail_belongs_to_the_sender_that_stored_it(fixture: Fixture) -> None:
    orders = [await fixture.write(sender=fixture.sender) for _ in range(2 * BATCH + 1)]
    await fixture.another().round()
    assert fixture.server.taken == []
    await fixture.sender.send_new()
    assert {await fixture.status(order) for order in orders} == {"sent"}
    assert len(fixture.server.taken) == 2 * BATCH + 1


async def test_a_new_mail_is_sent_by_another_sender_if_its_own_one_is_too_late(
    fixture: Fixture,
) -> None:
    order = await fixture.write(sender=fixture.sender)
    fixture.wait(CLAIM)
    await fixture.sender.send_new()
    assert fixture.server.taken == []
    await fixture.another().round()
    assert await fixture.status(order) == "sent"
    assert len(fixture.server.taken) == 1


async def test_new_mails_wait_for_a_server_that_is_down(fixture: Fixture) -> None:
    for _ in range(2 * BATCH):
        await fixture.write(sender=fixture.sender)
    fixture.server.down = True
    await fixture.sender.send_new()
    fixture.server.down = False
    while await fixture.another().round():
        pass
    assert await fixture.store.pending() == 1  # the first one waits longer: it may be the cause
    fixture.wait(timedelta(seconds=6))
    await fixture.another().round()
    assert await fixture.store.pending() == 0
    assert len(fixture.server.taken) == 2 * BATCH


async def test_no_mail_is_lost_while_the_server_is_down(fixture: Fixture) -> None:
    orders = [await fixture.write() for _ in range(3)]
    fixture.server.down = True
    for _ in range(4):
        await fixture.sender.round()
        fixture.wait(timedelta(seconds=6))
    assert await fixture.store.pending() == 3
    fixture.server.down = False
    await fixture.sender.round()
    assert [await fixture.status(order) for order in orders] == ["sent"] * 3


async def test_a_permanently_refused_mail_fails_and_blocks_no_other(fixture: Fixture) -> None:
    bad, good = await fixture.write("bad@example.com"), await fixture.write()
    fixture.server.errors["bad@example.com"] = MailRefusedError(True, "550 no such user")
    await fixture.sender.round()
    assert (await fixture.status(bad), await fixture.status(good)) == ("failed", "sent")


async def test_a_temporarily_refused_mail_is_retried_later(fixture: Fixture) -> None:
    order = await fixture.write()
    fixture.server.errors["ann@example.com"] = MailRefusedError(False, "451 try later")
    await fixture.sender.round()
    fixture.server.errors.clear()
    await fixture.sender.round()
    assert await fixture.status(order) == "pending"
    fixture.wait(timedelta(seconds=1))
    await fixture.sender.round()
    assert await fixture.status(order) == "sent"


async def test_a_mail_that_breaks_the_connection_does_not_block_others(fixture: Fixture) -> None:
    addresses = ("ann@example.com", "stone@example.com", "ann@example.com")
    before, stone, after = [await fixture.write(each, sender=fixture.sender) for each in addresses]
    fixture.server.errors["stone@example.com"] = MailServerDownError("connection lost")
    await fixture.sender.send_new()
    statuses = [await fixture.status(order) for order in (before, stone, after)]
    assert statuses == ["sent", "pending", "pending"]
    await fixture.sender.round()
    assert (await fixture.status(stone), await fixture.status(after)) == ("pending", "sent")
    assert len(fixture.server.taken) == 2


@pytest.mark.parametrize("stored", [False, True])
async def test_a_slow_server_does_not_outlast_a_claim(fixture: Fixture, stored: bool) -> None:
    for _ in range(BATCH):
        await fixture.write(sender=fixture.sender if stored else None)
    fixture.server.before_each = lambda: fixture.wait(timedelta(seconds=1))
    started_at = fixture.clock.now()
    await (fixture.sender.send_new() if stored else fixture.sender.round())
    assert fixture.clock.now() - started_at < CLAIM
    while await fixture.store.pending():
        await fixture.another().round()
    assert len(fixture.server.taken) == BATCH


async def test_two_senders_never_send_the_same_mail(fixture: Fixture) -> None:
    for _ in range(2 * BATCH):
        await fixture.write()
    await asyncio.gather(fixture.sender.round(), fixture.another().round())
    ids = [message["Message-ID"] for message in fixture.server.taken]
    assert len(ids) == len(set(ids)) == 2 * BATCH


async def test_mails_that_a_dead_sender_claimed_are_taken_over(fixture: Fixture) -> None:
    order = await fixture.write()
    now = fixture.clock.now()
    assert len(await fixture.store.claim(now=now, until=now + CLAIM, limit=5)) == 1
    await fixture.sender.round()
    assert await fixture.status(order) == "pending"
    fixture.wait(CLAIM)
    await fixture.sender.round()
    assert await fixture.status(order) == "sent"


async def test_a_user_sees_only_their_own_mails(fixture: Fixture) -> None:
    order = await fixture.write()
    assert len(await fixture.store.of_order(order, "u-1")) == 1
    assert await fixture.store.of_order(order, "u-2") == []
