"""The cache on the real Valkey, and without one."""

import asyncio
import statistics
import time
from uuid import uuid4

import pytest
from redis.exceptions import RedisError

from chassis.cache import ANSWER_S, open_cache
from tests.chassis.cached_json import get_or_load
from tests.fixtures.servers import free_port
from tests.fixtures.waiting import wait_until_async


async def test_a_miss_loads_once_for_a_hundred_callers(valkey: str) -> None:
    caches = [open_cache(valkey, f"{prefix}:") for prefix in [uuid4()] * 2]
    loads = 0

    async def load() -> dict[str, int]:
        nonlocal loads
        loads += 1
        await asyncio.sleep(0.05)  # the source is slow: all callers come while it loads
        return {"n": loads}

    answers = await asyncio.gather(
        *(get_or_load(cache, "key", 5, load) for cache in caches for _ in range(50))
    )
    assert loads == 1
    assert answers == [{"n": 1}] * 100


async def test_without_the_bypass_a_dead_valkey_is_an_error() -> None:
    cache = open_cache(f"redis://127.0.0.1:{free_port()}/0", f"{uuid4()}:", bypass=False)

    async def load() -> int:
        return 1

    with pytest.raises(RedisError):
        await get_or_load(cache, "key", 5, load)


async def test_a_deleted_key_is_loaded_again(valkey: str) -> None:
    cache = open_cache(valkey, f"{uuid4()}:")
    values = iter([1, 2])

    async def load() -> int:
        return next(values)

    assert await get_or_load(cache, "key", 60, load) == 1
    assert await get_or_load(cache, "key", 60, load) == 1
    await cache.delete("key")
    assert await get_or_load(cache, "key", 60, load) == 2


async def test_an_expired_key_is_loaded_again(valkey: str) -> None:
    cache = open_cache(valkey, f"{uuid4()}:")
    loads = 0

    async def load() -> int:
        nonlocal loads
        loads += 1
        return loads

    await get_or_load(cache, "key", 0.1, load)

    async def is_loaded_again() -> bool:
        return bool(await get_or_load(cache, "key", 0.1, load) == 2)

    await wait_until_async(is_loaded_again, "the second load")


async def test_a_cancelled_caller_does_not_cancel_the_load_of_the_others(valkey: str) -> None:
    cache = open_cache(valkey, f"{uuid4()}:")
    gate = asyncio.Event()

    async def load() -> str:
        await gate.wait()
        return "loaded"

    first = asyncio.create_task(get_or_load(cache, "key", 5, load))
    await asyncio.sleep(0)  # a turn, in which it starts
    second = asyncio.create_task(get_or_load(cache, "key", 5, load))
    await asyncio.sleep(0)
    first.cancel()
    gate.set()
    assert await second == "loaded"


async def test_without_valkey_every_read_loads_from_the_source(caplog: object) -> None:
    cache = open_cache(f"redis://127.0.0.1:{free_port()}/0", "x:")
    loads = 0

    async def load() -> int:
        nonlocal loads
        loads += 1
        return loads

    assert [await get_or_load(cache, "key", 5, load) for _ in range(3)] == [1, 2, 3]
    await cache.delete("key")


async def test_an_error_of_the_source_is_raised_and_not_cached(valkey: str) -> None:
    cache = open_cache(valkey, f"{uuid4()}:")

    async def broken() -> int:
        raise KeyError("gone")

    async def whole() -> int:
        return 1

    results = await asyncio.gather(get_or_load(cache, "key", 5, broken), return_exceptions=True)
    assert isinstance(results[0], KeyError)
    async with asyncio.timeout(1):  # half the life of a lock
        assert await get_or_load(cache, "key", 5, whole) == 1


async def test_a_silent_valkey_delays_one_read_and_is_used_again_when_it_answers(
    valkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chassis.cache.PING_S", 0.3)
    held: list[asyncio.StreamWriter] = []
    pinged_twice = asyncio.Event()

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)
        if len(held) >= 3:
            pinged_twice.set()

    server = await asyncio.start_server(never_answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    cache = open_cache(f"redis://127.0.0.1:{port}/0", "x:")
    loads = 0

    async def load() -> int:
        nonlocal loads
        loads += 1
        return loads

    began = time.monotonic()
    assert await get_or_load(cache, "a", 60, load) == 1
    assert time.monotonic() - began >= ANSWER_S
    took: list[float] = []
    while not pinged_twice.is_set():  # until two pings have been sent
        began = time.monotonic()
        await get_or_load(cache, f"b{loads}", 60, load)
        took.append(time.monotonic() - began)
        await asyncio.sleep(0.01)  # the distance between reads
    assert statistics.median(took) < ANSWER_S / 2, "reads waited for a Valkey known to be silent"
    for writer in held:
        writer.close()
    server.close()
    cache._client = open_cache(valkey, f"{uuid4()}:")._client

    async def needs_no_load() -> bool:
        before = loads
        await get_or_load(cache, "c", 60, load)
        return loads == before

    await wait_until_async(needs_no_load, "a read from Valkey")
