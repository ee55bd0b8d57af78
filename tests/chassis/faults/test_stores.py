"""Faults at the cache and the registry: misses, stale values, dead entries, as seen from outside."""

import asyncio
from collections.abc import Iterator

import nats as nats_py
import pytest
import redis

from chassis.registry import BUCKET, LEASE_S, Instance
from tests.chassis.subject import Subject
from tests.fixtures.servers import run_apart
from tests.fixtures.waiting import wait_until


@pytest.fixture
def keys(valkey: str, subject: Subject) -> Iterator[redis.Redis]:
    """Valkey itself, without entries of the subject, whose source is reset."""
    client = redis.Redis.from_url(valkey)
    subject.ask("PUT", "/cached/first")
    client.flushdb()
    yield client
    client.close()


def value(subject: Subject) -> str:
    return str(subject.ask("GET", "/cached").body["value"])


def loads(subject: Subject) -> int:
    return int(subject.ask("GET", "/cached").body["loads"])


def test_a_flush_empties_the_services_keys_and_costs_a_load(
    subject: Subject, keys: redis.Redis
) -> None:
    keys.set("another:key", "stays")
    before = loads(subject)
    assert loads(subject) == before
    subject.add("flush")
    assert keys.keys("*") == [b"another:key"]
    assert loads(subject) == before + 1


def test_a_flush_is_repeated_until_the_fault_ends(subject: Subject, keys: redis.Redis) -> None:
    fault = subject.add("flush", attributes={"every_ms": 50})
    before = loads(subject)
    wait_until(lambda: loads(subject) >= before + 3, "three more loads")
    subject.lab("DELETE", f"faults/{fault['fault_id']}")
    value(subject)
    again = loads(subject)
    assert [loads(subject) for _ in range(3)] == [again] * 3


def test_a_lost_invalidation_leaves_a_stale_value(subject: Subject, keys: redis.Redis) -> None:
    assert value(subject) == "first"
    fault = subject.add("drop", point="cache", scope={"method": "DELETE", "route": "thing"})
    subject.ask("PUT", "/cached/second")
    assert value(subject) == "first"
    subject.lab("DELETE", f"faults/{fault['fault_id']}")
    subject.ask("PUT", "/cached/third")
    assert value(subject) == "third"


def test_dropped_reads_are_misses_although_the_entry_exists(
    subject: Subject, keys: redis.Redis
) -> None:
    before = loads(subject)
    subject.add("drop", point="cache", scope={"method": "GET"})
    assert keys.exists("subject:thing")
    assert [loads(subject) for _ in range(3)] == [before + 1, before + 2, before + 3]


def test_a_slow_cache_costs_its_delay(subject: Subject, keys: redis.Redis) -> None:
    value(subject)
    subject.add("latency", attributes={"latency_ms": 100}, point="cache", scope={"method": "GET"})

    def once_delayed() -> bool:
        reply = subject.ask("GET", "/cached")
        assert reply.body["value"] == "first"
        assert reply.seconds >= 0.1
        return reply.seconds < 0.2

    wait_until(once_delayed, "a read that waits once")


@pytest.mark.parametrize("kind", ["down", "stall"])
def test_without_its_cache_the_service_answers_from_the_source(
    subject: Subject, keys: redis.Redis, kind: str
) -> None:
    value(subject)
    down = subject.metric('cache_lookups_total{result="down"}')
    fault = subject.add(kind, point="cache")
    subject.ask("PUT", "/cached/newer")
    reply = subject.ask("GET", "/cached")
    assert reply.body["value"] == "newer"
    assert subject.metric('cache_lookups_total{result="down"}') > down
    subject.lab("DELETE", f"faults/{fault['fault_id']}")


def test_lost_heartbeats_let_the_lease_run_out(subject: Subject, nats: str) -> None:
    assert entry(nats, "subject-1")
    fault = subject.add("drop", point="registry", scope={"method": "HEARTBEAT"})
    wait_until(lambda: entry(nats, "subject-1") is None, "the lease to run out")
    subject.lab("DELETE", f"faults/{fault['fault_id']}")
    wait_until(lambda: entry(nats, "subject-1"), "the next heartbeat")


def test_a_stale_view_keeps_an_instance_that_has_left(subject: Subject, nats: str) -> None:
    announce(nats, "ghost-1")
    wait_until(lambda: seen(subject) == ["ghost-1"], "the instance to be seen")
    fault = subject.add("drop", point="registry", scope={"method": "WATCH"})
    leave(nats, "ghost-1")
    # longer than any lease: only a stale view still has it
    wait_until(
        lambda: subject.fault(fault["fault_id"])["hits"] >= LEASE_S + 1, "heartbeats to be missed"
    )
    assert seen(subject) == ["ghost-1"]
    subject.lab("DELETE", f"faults/{fault['fault_id']}")
    wait_until(lambda: seen(subject) == [], "the view to catch up")


def test_a_registry_that_is_down_leaves_the_last_view(subject: Subject, nats: str) -> None:
    fault = subject.add("down", point="registry")
    announce(nats, "ghost-2")
    wait_until(lambda: subject.fault(fault["fault_id"])["hits"] >= 3, "the registry to be missed")
    assert seen(subject) == []
    assert subject.ask("POST", "/call", {}).status == 200  # it still knows itself
    subject.lab("DELETE", f"faults/{fault['fault_id']}")
    announce(nats, "ghost-2")
    wait_until(lambda: seen(subject) == ["ghost-2"], "the view to catch up")
    leave(nats, "ghost-2")


def seen(subject: Subject) -> list[str]:
    return list(subject.ask("GET", "/instances/ghost").body)


def entry(nats: str, name: str) -> bytes | None:
    return run_apart(_bucket(nats, "get", f"subject.{name}"))


def announce(nats: str, name: str) -> None:
    instance = Instance("ghost", name, "127.0.0.1:1")
    run_apart(_bucket(nats, "put", instance.key, instance.to_entry()))


def leave(nats: str, name: str) -> None:
    run_apart(_bucket(nats, "delete", f"ghost.{name}"))


async def _bucket(nats: str, verb: str, *args: object) -> bytes | None:
    client = await nats_py.connect(nats)
    try:
        bucket = await client.jetstream().key_value(BUCKET)
        answer = await asyncio.wait_for(getattr(bucket, verb)(*args), 5)
        return getattr(answer, "value", None)
    except nats_py.js.errors.KeyNotFoundError:
        return None
    finally:
        await client.close()
