"""Accounts, sessions and keys on the real PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

import shop.users
from chassis.http.idempotency import KeyReusedError
from chassis.messaging.event import Event
from chassis.postgres.connection import Conn
from chassis.postgres.database import apply_schema
from shop.users.domain import EmailTakenError, Session, User
from shop.users.seed import seed
from shop.users.store import UserStore, signing_keys

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SCHEMA = Path(shop.users.__file__).with_name("schema.sql")
ANN = User("user-1", "ann@example.com", "Ann")
BODY = {"email": ANN.email}


class FakeOutbox:
    """Stores events in the transaction, as the real outbox does."""

    async def put(self, conn: Conn, event: Event) -> None:
        await conn.execute(
            "INSERT INTO outbox (event_id, type, aggregate_id, payload) VALUES ($1, $2, $3, '{}')",
            event.event_id, event.type, event.aggregate_id,
        )  # fmt: skip


@pytest.fixture
async def pool(database: Callable[[str], str]) -> AsyncIterator[asyncpg.Pool]:
    url = await asyncio.to_thread(database, "users")
    async with asyncpg.create_pool(url, min_size=1, max_size=10) as pool:
        await apply_schema(pool, SCHEMA, None)
        yield pool


@pytest.fixture
def store(pool: asyncpg.Pool) -> UserStore:
    return UserStore(pool, FakeOutbox())  # type: ignore[arg-type]


async def add(store: UserStore, user: User = ANN, key: str = "k1", **body: Any) -> Any:
    return await store.register(user, "a hash", NOON, key, BODY | body)


async def test_account_event_and_answer_are_stored_together(
    store: UserStore, pool: asyncpg.Pool
) -> None:
    first = await add(store)
    again = await add(store, User("user-2", ANN.email, "Ann"))
    assert first.body == again.body == {"id": "user-1", "email": ANN.email, "name": "Ann"}
    assert (first.replayed, again.replayed) == (False, True)
    rows = await pool.fetch("SELECT type, aggregate_id FROM outbox")
    assert [tuple(row) for row in rows] == [("UserRegistered", "user-1")]


async def test_a_refused_registration_stores_nothing(store: UserStore, pool: asyncpg.Pool) -> None:
    await add(store)
    with pytest.raises(EmailTakenError):
        await add(store, User("user-2", ANN.email, "Other Ann"), key="k2")
    with pytest.raises(KeyReusedError):
        await add(store, User("user-3", ANN.email, "Bob"), name="Bob")
    assert await pool.fetchval("SELECT count(*) FROM users") == 1
    assert await pool.fetchval("SELECT count(*) FROM idempotency") == 1
    assert await pool.fetchval("SELECT count(*) FROM outbox") == 1


async def test_of_ten_concurrent_registrations_of_one_address_one_succeeds(
    store: UserStore,
) -> None:
    outcomes = await asyncio.gather(
        *(add(store, User(f"user-{n}", ANN.email, "Ann"), key=f"k{n}") for n in range(10)),
        return_exceptions=True,
    )
    assert sum(isinstance(outcome, EmailTakenError) for outcome in outcomes) == 9
    assert sum(not isinstance(outcome, BaseException) for outcome in outcomes) == 1


async def test_of_ten_concurrent_uses_of_one_refresh_token_at_most_one_succeeds(
    store: UserStore,
) -> None:
    await add(store)
    await store.open_session(Session("s1", ANN.id, b"old", NOON + timedelta(days=1)), NOON)
    outcomes = await asyncio.gather(
        *(store.rotate_session("s1", b"old", b"new%d" % n, NOON) for n in range(10))
    )
    assert sum(outcome == ANN for outcome in outcomes) == 1
    assert await store.rotate_session("s1", b"old", b"x", NOON) is None


async def test_an_old_refresh_token_ends_the_session_of_the_new_one(store: UserStore) -> None:
    await add(store)
    await store.open_session(Session("s1", ANN.id, b"old", NOON + timedelta(days=1)), NOON)
    await store.open_session(Session("s2", ANN.id, b"other", NOON + timedelta(days=1)), NOON)
    assert await store.rotate_session("s1", b"old", b"new", NOON) == ANN
    assert await store.rotate_session("s1", b"old", b"thief", NOON) is None
    assert await store.rotate_session("s1", b"new", b"newer", NOON) is None
    assert await store.rotate_session("s2", b"other", b"o2", NOON) == ANN, "the other session stays"


async def test_the_next_login_deletes_expired_sessions(
    store: UserStore, pool: asyncpg.Pool
) -> None:
    await add(store)
    await store.open_session(Session("s1", ANN.id, b"1", NOON + timedelta(days=1)), NOON)
    later = NOON + timedelta(days=2)
    await store.open_session(Session("s2", ANN.id, b"2", later + timedelta(days=1)), later)
    rows = await pool.fetch("SELECT session_id FROM sessions")
    assert [row["session_id"] for row in rows] == ["s2"]


async def test_instances_that_start_together_agree_on_one_key(pool: asyncpg.Pool) -> None:
    month, life = timedelta(days=30), timedelta(minutes=15)
    rings = await asyncio.gather(*(signing_keys(pool, NOON, month, life) for _ in range(8)))
    assert {key.kid for ring in rings for key in ring} == {rings[0][0].kid}


async def test_a_rotated_key_is_deleted_when_its_tokens_have_expired(pool: asyncpg.Pool) -> None:
    month, life = timedelta(days=30), timedelta(minutes=15)
    (first,) = await signing_keys(pool, NOON, month, life)
    both = await signing_keys(pool, NOON + month, month, life)
    assert len(both) == 2
    assert first in both
    (second,) = await signing_keys(pool, NOON + month + timedelta(hours=1), month, life)
    assert second != first
    assert await pool.fetchval("SELECT array_agg(kid) FROM signing_keys") == [second.kid]


async def test_seeding_twice_adds_500_users_once_with_one_hash(pool: asyncpg.Pool) -> None:
    await apply_schema(pool, SCHEMA, seed)
    await apply_schema(pool, SCHEMA, seed)
    assert await pool.fetchval("SELECT count(*) FROM users") == 500
    assert await pool.fetchval("SELECT count(DISTINCT password_hash) FROM users") == 1
    assert await pool.fetchval("SELECT count(*) FROM outbox") == 0, "no registration, no event"
