"""The cache on the real Valkey, and without one."""

import asyncio
import statistics
import time
from uuid import uuid4

import pytest

from chassis.cache import ANSWER_S, open_cache
from chassis.valkey import Valkey, ValkeyError
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

    with pytest.raises(ValkeyError):
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


@pytest.fixture
def client(valkey: str) -> Valkey:
    return Valkey(valkey, ANSWER_S)


async def test_each_caller_gets_its_own_answer(client: Valkey) -> None:
    prefix = str(uuid4()).encode()
    values = {b"%b:%d" % (prefix, n): b"\r\n$%d" % n * n for n in range(200)}
    await asyncio.gather(*(client.run(b"SET", key, value) for key, value in values.items()))
    reads = [asyncio.create_task(client.run(b"GET", key)) for key in values]
    await asyncio.sleep(0)  # a turn, in which they send
    for read in reads[::2]:
        read.cancel()
    assert await asyncio.gather(*reads[1::2]) == list(values.values())[1::2]
    assert await client.run(b"GET", prefix) is None
    size = 1_000_000
    await client.run(b"SET", prefix, b"x" * size)
    assert await client.run(b"STRLEN", prefix) == size
    assert await client.run(b"GET", prefix) == b"x" * size
    assert sorted(await client.run(b"MGET", prefix, b"no such key", prefix), key=bool)[0] is None


async def test_a_refused_command_fails_alone(client: Valkey) -> None:
    commands = (b"PING", b"NO-SUCH-COMMAND", b"PING")
    tasks = [asyncio.create_task(client.run(command)) for command in commands]
    await asyncio.wait(tasks)
    assert [tasks[0].result(), tasks[2].result()] == [b"PONG"] * 2
    assert isinstance(tasks[1].exception(), ValkeyError)
    assert await client.run(b"PING") == b"PONG"


async def test_a_lost_connection_fails_its_commands_and_is_opened_again(client: Valkey) -> None:
    own = await client.run(b"CLIENT", b"ID")
    other = Valkey(f"redis://{client._address[0]}:{client._address[1]}", ANSWER_S)
    other._greeting = client._greeting
    waiting = asyncio.create_task(client.run(b"BLPOP", str(uuid4()).encode(), b"0"))
    await asyncio.sleep(0)
    await other.run(b"CLIENT", b"KILL", b"ID", b"%d" % own)
    with pytest.raises(ValkeyError):
        await waiting
    assert await client.run(b"PING") == b"PONG"


async def test_a_late_answer_is_not_taken_for_that_of_another_command(client: Valkey) -> None:
    slow = Valkey(f"redis://{client._address[0]}:{client._address[1]}", 0.05)
    slow._greeting = client._greeting
    key = str(uuid4()).encode()
    with pytest.raises(ValkeyError, match="no answer"):
        await slow.run(b"BLPOP", key, b"0.2")
    assert await slow.run(b"PING") == b"PONG"


@pytest.mark.parametrize("says", [b"nonsense\r\n", b"$x\r\n", b"$10\r\nabc"])
async def test_a_server_of_another_kind_is_unreachable(says: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(says)
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        client = Valkey(f"redis://127.0.0.1:{port}", ANSWER_S)
        with pytest.raises(ValkeyError):
            for _ in range(2):
                await client.run(b"PING")
