"""A key-value bucket of the broker, followed without a consumer.

Only who may publish to `$KV.<bucket>.<key>` can write a key. A follower needs no right to create consumers: the
broker delivers the messages of a push consumer to any subject, also to one on which its creator may not publish.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.api import KeyValueConfig, StorageType

from chassis.background import until_beat_s
from chassis.messaging.bus import UNREACHABLE

log = logging.getLogger("chassis.bucket")
ANSWER_S = 2.0
CHECK_S = 1.0  # interval to look for a new connection to the broker
RETRY_S = 1.0
SYNC_S = 3.0
BATCH = 10_000
END_OF_BATCH, EMPTY = "204", "404"
See = Callable[[str, bytes], Awaitable[None]]  # (key, value); an empty value: the key was deleted


class _Following:
    """Passes on the changes of one subscription, from `begin` to the first error.

    By the client's callback: its `next_msg` creates two tasks and a timer for each message.
    """

    def __init__(self, pass_on: Callable[[Msg], Awaitable[None]]) -> None:
        self.begin = asyncio.Event()
        self._pass_on = pass_on
        self._ended = asyncio.Event()
        self._error: Exception | None = None

    async def change(self, message: Msg) -> None:
        await self.begin.wait()
        if self._error is None:
            try:
                await self._pass_on(message)
            except Exception as error:
                self._error = error
                self._ended.set()

    async def check(self) -> None:
        """Wait for up to CHECK_S. Raises the error of a change."""
        with suppress(TimeoutError):
            async with asyncio.timeout(until_beat_s(CHECK_S)):
                await self._ended.wait()
        if self._error is not None:
            raise self._error


class Bucket:
    """The bucket `name`. Entries expire after `ttl_s` seconds."""

    def __init__(
        self, nats: Client, name: str, ttl_s: float, storage: StorageType = StorageType.MEMORY
    ) -> None:
        self._nats = nats
        self._js = nats.jetstream(timeout=ANSWER_S)
        self._name = name
        self._subject = f"$KV.{name}."
        self._config = KeyValueConfig(
            bucket=name, history=1, ttl=ttl_s, storage=storage, direct=True
        )
        self._synced = asyncio.Event()
        self._following: asyncio.Task[None] | None = None

    async def open(self, see: See) -> None:
        """Create the bucket if it is missing, and call `see` for each entry and each change until `close`.

        Returns when all entries have been seen, or after SYNC_S. After a new connection it reads all entries
        again: changes may have been missed. Raises the errors in UNREACHABLE.
        """
        await self._create()
        self._following = asyncio.create_task(self._follow(see))
        try:
            await asyncio.wait_for(self._synced.wait(), SYNC_S)
        except TimeoutError:
            log.warning("bucket %s: its entries did not arrive in time", self._name)

    async def close(self) -> None:
        """Stop following."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)

    async def put(self, key: str, value: bytes) -> None:
        """Store a value. Raises the errors in UNREACHABLE, also if this user may not write the key."""
        await self._js.publish(self._subject + key, value)

    async def delete(self, key: str) -> None:
        """Delete a key. Raises as `put` does."""
        await self._js.publish(self._subject + key, headers={"KV-Operation": "DEL"})

    async def _create(self) -> None:
        await self._js.create_key_value(self._config)

    async def _follow(self, see: See) -> None:
        while True:
            try:
                await self._follow_connection(see)
            except UNREACHABLE as error:
                log.warning("bucket %s: %s", self._name, error or type(error).__name__)
                await asyncio.sleep(RETRY_S)

    async def _follow_connection(self, see: See) -> None:
        connection = self._nats.stats["reconnects"]
        following = _Following(lambda message: self._pass_on(message.subject, message, see))
        # before the entries are read, so that no change is missed in between
        changes = await self._nats.subscribe(self._subject + ">", cb=following.change)
        try:
            await self._create()  # a restarted broker has lost a bucket in memory
            for subject, message in await self._entries():
                await self._pass_on(subject, message, see)
            following.begin.set()
            self._synced.set()
            while self._nats.stats["reconnects"] == connection:
                await following.check()
        finally:
            if not self._nats.is_closed:
                await changes.unsubscribe()

    async def _entries(self) -> list[tuple[str, Msg]]:
        """(subject, message) of each current entry (NATS ADR-31, "Batched requests")."""
        found: list[tuple[str, Msg]] = []
        inbox = self._nats.new_inbox()
        answers = await self._nats.subscribe(inbox)
        request = {"seq": 1, "next_by_subj": self._subject + ">", "batch": BATCH}
        try:
            while True:
                subject = f"$JS.API.DIRECT.GET.KV_{self._name}"
                await self._nats.publish(subject, json.dumps(request).encode(), inbox)
                message = await answers.next_msg(ANSWER_S)
                while "Nats-Sequence" in (headers := message.headers or {}):
                    # the broker's own header is the last one: a writer cannot name another key
                    found.append((headers["Nats-Subject"], message))
                    message = await answers.next_msg(ANSWER_S)
                status = headers.get("Status", "")
                if status == EMPTY or headers.get("Nats-Num-Pending") == "0":
                    return found
                if status != END_OF_BATCH:
                    raise NatsError(f"{subject}: {status} {headers.get('Description', '')}")
                request["seq"] = int(headers["Nats-Last-Sequence"]) + 1
        finally:
            await answers.unsubscribe()

    async def _pass_on(self, subject: str, message: Msg, see: See) -> None:
        deleted = (message.headers or {}).get("KV-Operation") in ("DEL", "PURGE")
        await see(subject.removeprefix(self._subject), b"" if deleted else message.data)
