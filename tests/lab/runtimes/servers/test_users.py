"""The users of the real NATS and Valkey: no one without a password, and each service no more than it needs."""

from collections.abc import Collection
from pathlib import Path
from urllib.parse import urljoin

import nats as nats_py
import pytest
import redis.asyncio as redis
from nats.aio.client import Client
from nats.errors import Error as NatsError
from redis.exceptions import AuthenticationError, NoPermissionError

from lab import topology as topologies
from lab.runtimes.servers import commands
from tests.fixtures.labs import get
from tests.fixtures.servers import TOPOLOGY, Users

SERVICES = list(TOPOLOGY.services.values())
EVENTS = {f"events.{event}" for service in SERVICES for event in service.publishes}
KEYS = {f"$KV.registry.{service.name}.{service.name}-1" for service in SERVICES}
# what would take over the broker: deleting streams, changing them, reading or faking what others wrote
POWERS = {
    "$JS.API.STREAM.DELETE.EVENTS",
    "$JS.API.STREAM.UPDATE.EVENTS",
    "$JS.API.STREAM.PURGE.KV_registry",
    "$JS.API.STREAM.MSG.DELETE.EVENTS",
    "$JS.API.STREAM.CREATE.OTHER",
    "$JS.API.CONSUMER.CREATE.KV_registry",
    "$JS.API.CONSUMER.DELETE.EVENTS.notifications",
    "$KV.registry.all",
    "_INBOX.orders.x",
    "anything",
}


class Watched:
    """A client, and the subjects that the broker refuses to it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.refusals: list[str] = []
        self.client = Client()

    async def __aenter__(self) -> "Watched":
        async def note(error: Exception) -> None:
            self.refusals.append(str(error).lower())

        await self.client.connect(self.url, error_cb=note)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()

    async def published(self, subjects: Collection[str]) -> set[str]:
        """Those of the subjects on which it may publish."""
        for subject in subjects:
            await self.client.publish(subject)
        return await self._allowed("publish to", subjects)

    async def subscribed(self, subjects: Collection[str]) -> set[str]:
        """Those of the subjects that it may read."""
        for subject in subjects:
            await self.client.subscribe(subject)
        return await self._allowed("subscription to", subjects)

    async def _allowed(self, what: str, subjects: Collection[str]) -> set[str]:
        await self.client.flush()  # its ping may overtake what waits to be sent, the second cannot
        await self.client.flush()  # refusals arrive before its answer
        found = {s for s in subjects if f'violation for {what} "{s.lower()}"' in str(self.refusals)}
        return set(subjects) - found


@pytest.mark.parametrize("credentials", ["", "orders:guessed@", "lab:@"])
async def test_nats_refuses_a_client_without_a_password(nats: str, credentials: str) -> None:
    url = f"nats://{credentials}{nats.rpartition('@')[2]}"
    with pytest.raises(NatsError, match="Authorization Violation"):
        await nats_py.connect(url, allow_reconnect=False, max_reconnect_attempts=0)


@pytest.mark.parametrize("service", SERVICES, ids=lambda each: each.name)
async def test_a_service_publishes_its_own_events_and_its_own_address_only(
    nats_users: Users, service: topologies.Service
) -> None:
    async with Watched(nats_users.of(service.name)) as user:
        allowed = await user.published(EVENTS | KEYS | POWERS | {"$KV.ended_sessions.s1"})
    expected = {f"events.{event}" for event in service.publishes}
    expected |= {f"$KV.registry.{service.name}.{service.name}-1"}
    expected |= {"$KV.ended_sessions.s1"} if service.name == "users" else set()
    assert allowed == expected


async def test_a_service_reads_no_answer_to_another_and_no_event_past_its_consumer(
    nats_users: Users,
) -> None:
    foreign = {"_INBOX.>", "_INBOX.payments.>", "events.>", "dead.>", "$JS.API.>", ">"}
    async with Watched(nats_users.of("orders")) as user:
        assert await user.subscribed(foreign | {"_INBOX.orders.>"}) == {"_INBOX.orders.>"}


def test_the_monitoring_has_no_page_without_its_secret_path(
    nats: str, nats_monitoring: str
) -> None:
    assert get(f"{nats_monitoring}/varz")[0] == 200
    for path in ("/", "/varz", "/connz", "/jsz", "/healthz", "/varz?callback=read"):
        status, headers, _ = get(urljoin(nats_monitoring, path))
        assert status == 404, path
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("credentials", ["", "products:guessed@", "lab:@"])
async def test_valkey_refuses_a_client_without_a_password(valkey: str, credentials: str) -> None:
    client = redis.Redis.from_url(f"redis://{credentials}{valkey.rpartition('@')[2]}")
    with pytest.raises(AuthenticationError):
        await client.get("products:x")
    await client.aclose()


async def test_a_service_uses_its_own_keys_with_the_commands_of_a_cache(
    valkey_users: Users, valkey: str
) -> None:
    everything = redis.Redis.from_url(valkey)
    await everything.set("users:x", "foreign")
    own = redis.Redis.from_url(valkey_users.of("products"))
    await own.set("products:x", "1", px=1000, nx=True)
    assert await own.get("products:x") == b"1"
    assert await own.ping()
    await own.delete("products:x")
    for command in (
        ("GET", "users:x"),
        ("SET", "users:x", "1"),
        ("DEL", "users:x"),
        ("RENAME", "products:x", "products:y"),
        ("KEYS", "*"),
        ("FLUSHALL",),
        ("CONFIG", "GET", "*"),
        ("ACL", "LIST"),
        ("EVAL", "return 1", "0"),
        ("SHUTDOWN",),
        ("MONITOR",),
    ):
        with pytest.raises(NoPermissionError):
            await own.execute_command(*command)
    assert await everything.get("users:x") == b"foreign"
    for client in (own, everything):
        await client.aclose()


def test_no_password_is_on_a_command_line(tmp_path: Path) -> None:
    valkey = commands.valkey(tmp_path, 1, "user a on >s3cr3t\n")
    nats = commands.nats(tmp_path, "password: $A", {"A": '"s3cr3t"'})
    assert "s3cr3t" not in f"{valkey.argv} {nats.argv}"
    assert (tmp_path / "valkey.conf").stat().st_mode & 0o077 == 0
    assert "s3cr3t" not in (tmp_path / "nats.conf").read_text()
