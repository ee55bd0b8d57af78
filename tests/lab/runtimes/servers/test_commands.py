"""The real servers answer requests."""

from collections.abc import Callable

import asyncpg
import nats as nats_py
import redis.asyncio as redis


async def test_each_database_has_its_own_role_and_refuses_the_others(
    database: Callable[[str], str],
) -> None:
    orders, payments = database("orders"), database("payments")
    connection = await asyncpg.connect(orders)
    await connection.execute("CREATE TABLE t (x int)")
    owner = await connection.fetchval("SELECT tableowner FROM pg_tables WHERE tablename = 't'")
    await connection.close()
    assert owner == orders.rpartition("/")[2]
    foreign = payments.rpartition("/")[0] + "/" + orders.rpartition("/")[2]
    try:
        await asyncpg.connect(foreign)
    except asyncpg.InsufficientPrivilegeError:
        return
    raise AssertionError("the role of payments may connect to the database of orders")


async def test_valkey_stores_and_returns(valkey: str) -> None:
    client = redis.Redis.from_url(valkey)
    await client.set("k", "v")
    assert await client.get("k") == b"v"
    await client.aclose()


async def test_nats_has_jetstream(nats: str) -> None:
    client = await nats_py.connect(nats)
    js = client.jetstream()
    await js.add_stream(name="T", subjects=["t.>"])
    ack = await js.publish("t.x", b"1")
    await js.delete_stream("T")
    await client.close()
    assert ack.stream == "T"
