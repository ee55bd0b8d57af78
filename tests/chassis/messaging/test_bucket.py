"""A bucket of the broker, followed on the real NATS."""

from uuid import uuid4

from chassis.messaging import bus
from chassis.messaging.bucket import Bucket
from tests.fixtures.waiting import wait_until_async


async def test_changes_are_seen_in_order_and_after_an_error_all_entries_again(nats: str) -> None:
    client = await bus.connect(nats, "test")
    bucket = Bucket(client, f"b{uuid4().hex}", 60.0)
    seen: list[tuple[str, bytes]] = []

    async def see(key: str, value: bytes) -> None:
        seen.append((key, value))
        if value == b"bad" and seen.count((key, value)) == 1:
            raise ConnectionError("injected")

    await bucket.open(see)
    for number in range(50):
        await bucket.put("a", str(number).encode())
    await wait_until_async(lambda: len(seen) == 50, "each change")
    assert [value for _, value in seen] == [str(number).encode() for number in range(50)]
    await bucket.put("b", b"bad")
    await wait_until_async(lambda: seen.count(("b", b"bad")) == 2, "the entries again")
    assert seen[50:].count(("a", b"49")) == 1
    await bucket.delete("a")
    await wait_until_async(lambda: seen[-1] == ("a", b""), "the deletion")
    await bucket.close()
    await client.close()
