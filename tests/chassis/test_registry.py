"""Membership by heartbeats, and the registry on the real NATS."""

from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest
from nats.aio.client import Client

from chassis.messaging import bus
from chassis.registry import BUCKET, LEASE_S, Instance, Membership, Registry
from lab.edges import HOST, url_of, users_of
from lab.render import nats as nats_conf
from lab.runtimes.servers import commands
from lab.runtimes.supervisor import readiness
from tests.fixtures.servers import TOPOLOGY, Users, free_port, server
from tests.fixtures.waiting import wait_until_async

ONE = Instance("orders", "orders-1", "127.0.0.1:1")
TWO = Instance("orders", "orders-2", "127.0.0.1:2")


def test_an_instance_leaves_when_its_lease_expires_while_others_send_heartbeats() -> None:
    membership = Membership()
    membership.heartbeat(ONE, 0)
    for second in range(10):
        membership.heartbeat(TWO, second)
    assert membership.instances("orders", 9) == [TWO]


def test_without_any_heartbeat_the_last_instances_stay() -> None:
    membership = Membership()
    membership.heartbeat(ONE, 0)
    membership.heartbeat(TWO, 0.5)
    assert membership.instances("orders", 1000) == [ONE, TWO]


def test_after_a_silence_of_all_each_instance_has_a_lease_to_be_heard_again() -> None:
    """The first heartbeat after an outage of the registry says nothing about the other instances."""
    membership = Membership()
    membership.heartbeat(ONE, 0)
    membership.heartbeat(TWO, 0.9)
    membership.heartbeat(TWO, 20)
    assert membership.instances("orders", 20) == [ONE, TWO]
    membership.heartbeat(TWO, 21)
    membership.heartbeat(TWO, 22)
    membership.heartbeat(TWO, 23.1)
    assert membership.instances("orders", 23.1) == [TWO]


def test_a_silence_does_not_bring_back_an_instance_whose_lease_was_over() -> None:
    membership = Membership()
    membership.heartbeat(ONE, 0)
    for second in range(6):
        membership.heartbeat(TWO, second)
    membership.heartbeat(TWO, 20)
    assert membership.instances("orders", 20) == [TWO]


def test_an_instance_that_leaves_after_a_silence_is_removed_and_the_others_stay() -> None:
    membership = Membership()
    membership.heartbeat(ONE, 0)
    membership.heartbeat(TWO, 0.9)
    membership.leave(TWO.key, 20)
    assert membership.instances("orders", 20) == [ONE]


def test_an_instance_that_leaves_is_removed_at_once_and_other_services_stay() -> None:
    membership = Membership()
    membership.heartbeat(ONE, 0)
    membership.heartbeat(Instance("users", "users-1", "127.0.0.1:3"), 0)
    membership.leave(ONE.key, 0.1)
    assert membership.instances("orders", 0.2) == []
    assert [i.name for i in membership.instances("users", 0.2)] == ["users-1"]


async def test_addresses_of_edges_replace_the_announced_ones(nats: str) -> None:
    """By the name of the instance first, then by that of its service. Others keep their address."""
    client = await bus.connect(nats, "test")
    stem = f"s{uuid4().hex}"
    edges = {f"{stem}-1": "127.0.0.1:8401", f"{stem}": "127.0.0.1:8402"}
    caller = Registry(client, edges)
    await caller.open()
    others = [Registry(client) for _ in range(3)]
    names = [(stem, f"{stem}-1"), (stem, f"{stem}-2"), (f"{stem}x", f"{stem}x-1")]
    for registry, (service, name) in zip(others, names, strict=True):
        await registry.open()
        await registry.announce(Instance(service, name, "127.0.0.1:1"))
    await wait_until_async(
        lambda: len(caller.instances(stem)) == 2 and caller.instances(f"{stem}x"), "all three"
    )
    assert [i.address for i in caller.instances(stem)] == ["127.0.0.1:8401", "127.0.0.1:8402"]
    assert [i.address for i in caller.instances(f"{stem}x")] == ["127.0.0.1:1"]
    for registry in (*others, caller):
        await registry.close()
    await client.close()


async def test_instances_find_each_other_and_one_that_leaves_is_removed(nats: str) -> None:
    clients = [await bus.connect(nats, f"test-{n}") for n in range(2)]
    one, two = (Registry(client) for client in clients)
    service = f"s{uuid4().hex}"
    for number, registry in enumerate((one, two), 1):
        await registry.open()
        await registry.announce(Instance(service, f"{service}-{number}", f"127.0.0.1:{number}"))
    await wait_until_async(
        lambda: len(one.instances(service)) == len(two.instances(service)) == 2, "each other"
    )
    await two.close()
    await wait_until_async(
        lambda: len(one.instances(service)) == 1, "it left before its lease expired", LEASE_S / 2
    )
    await one.close()
    for client in clients:
        await client.close()


async def _sees(registry: Registry, instance: Instance) -> bool:
    return instance in registry.instances(instance.service)


async def test_no_user_of_the_broker_can_announce_another_service(nats_users: Users) -> None:
    """Neither under the other's key, nor under its own key in the other's name, nor by a header."""
    thief = await bus.connect(nats_users.of("orders"), "thief")
    follower = await bus.connect(nats_users.of("gateway"), "follower")
    early = Registry(follower)
    await early.open()
    false = Instance("payments", f"payments-{uuid4().hex}", "127.0.0.1:1")
    with pytest.raises(TimeoutError):
        await Registry(thief).announce(false)
    own = f"$KV.{BUCKET}.orders."
    js = thief.jetstream()
    await js.publish(f"{own}{false.name}", false.to_entry())
    spoofed = {"Nats-Subject": f"$KV.{BUCKET}.{false.key}", "Nats-Sequence": "1"}
    await js.publish(f"{own}x", false.to_entry(), headers=spoofed)
    honest = Instance("orders", f"orders-{uuid4().hex}", "127.0.0.1:2")
    await js.publish(f"{own}{honest.name}", honest.to_entry())
    late = Registry(follower)
    await late.open()
    for registry in (early, late):
        await wait_until_async(partial(_sees, registry, honest), "the honest entry")
        assert registry.instances("payments") == []
        await registry.close()
    for client in (thief, follower):
        await client.close()


async def test_after_a_new_connection_the_entries_are_read_again(nats_users: Users) -> None:
    follower = await bus.connect(nats_users.of("gateway"), "follower")
    other = await bus.connect(nats_users.of("orders"), "other")
    registry = Registry(follower)
    await registry.open()
    made = Instance("orders", f"orders-{uuid4().hex}", "127.0.0.1:1")
    reconnected = follower.stats["reconnects"]
    assert follower._transport is not None
    follower._transport.close()  # the broker is gone for a moment
    await other.jetstream().publish(f"$KV.{BUCKET}.{made.key}", made.to_entry())
    await wait_until_async(lambda: made in registry.instances("orders"), "the missed entry")
    assert follower.stats["reconnects"] > reconnected
    await registry.close()
    for client in (follower, other):
        await client.close()


async def test_instances_find_each_other_after_a_restart_of_the_broker(tmp_path: Path) -> None:
    """The bucket is in memory: the broker has lost it."""
    port, monitoring = free_port(), f"{HOST}:{free_port()}"
    config = nats_conf.config(
        TOPOLOGY, listen=f"{HOST}:{port}", monitoring=monitoring, store=str(tmp_path)
    )
    passwords = dict.fromkeys(users_of("nats", TOPOLOGY).values(), "secret")
    command = commands.nats(tmp_path, config, nats_conf.environment(passwords, "/x"))
    instances = [Instance("orders", f"orders-{n}", f"127.0.0.1:{n}") for n in (1, 2)]
    with server(command, readiness.nats(port), tmp_path / "nats.log"):
        url = url_of("nats", f"{HOST}:{port}", "orders", "secret")
        clients = [await bus.connect(url, f"orders-{n}") for n in (1, 2)]
        first, second = (Registry(client) for client in clients)
        await first.open()
        await first.announce(instances[0])
    with server(command, readiness.nats(port), tmp_path / "nats.log"):
        for client in clients:
            await wait_until_async(partial(_reconnected, client), "a new connection")
        await second.open()
        await second.announce(instances[1])
        for registry in (first, second):
            for instance in instances:
                await wait_until_async(partial(_sees, registry, instance), "each other", 20)
        for registry in (first, second):
            await registry.close()
        for client in clients:
            await client.close()


def _reconnected(client: Client) -> bool:
    return bool(client.stats["reconnects"])
