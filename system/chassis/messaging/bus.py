"""The message broker: one NATS connection per process, and the JetStream streams of events."""

import asyncio
import logging
from collections.abc import Mapping
from urllib.parse import urlsplit

import nats
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import RetentionPolicy, StorageType, StreamConfig

from chassis.faults import Exchange, Injector, armed

log = logging.getLogger("chassis.bus")
CONNECT_S = 30.0
PUBLISH_S = 2.0
EVENTS = "EVENTS"
DEAD = "DEAD"
DEDUPLICATE_S = 120.0
STREAM_BYTES_MAX = 256 * 1024 * 1024
UNREACHABLE = (NatsError, OSError, TimeoutError)


async def connect(url: str, name: str) -> Client:
    """Connect, with retries for up to 30 s. Afterwards the client reconnects without limit.

    The broker sends answers to subjects below `_INBOX.<user>`: no other user may read these.
    """

    async def on_error(error: Exception) -> None:
        log.debug("nats: %s", error)

    async def on_disconnect() -> None:
        log.warning("broker disconnected")

    async def on_reconnect() -> None:
        log.info("broker reconnected")

    give_up = asyncio.get_running_loop().time() + CONNECT_S
    while True:
        try:
            return await nats.connect(
                url,
                name=name,
                inbox_prefix=".".join(filter(None, ("_INBOX", urlsplit(url).username))),
                connect_timeout=3,  # a resolver may need 2 s to report an unknown name
                max_reconnect_attempts=-1,
                reconnect_time_wait=0.25,
                ping_interval=5,
                max_outstanding_pings=2,
                error_cb=on_error,
                disconnected_cb=on_disconnect,
                reconnected_cb=on_reconnect,
                allow_reconnect=True,
            )
        except UNREACHABLE as error:
            if asyncio.get_running_loop().time() > give_up:
                raise
            log.info("waiting for the broker: %s", error)
            await asyncio.sleep(0.1)


async def ensure_streams(js: JetStreamContext) -> None:
    """Create missing streams. Every service may call it, in any order."""
    for name, subject in ((EVENTS, "events.>"), (DEAD, "dead.>")):
        await js.add_stream(
            StreamConfig(
                name=name,
                subjects=[subject],
                retention=RetentionPolicy.LIMITS,
                storage=StorageType.FILE,
                max_bytes=STREAM_BYTES_MAX,
                duplicate_window=DEDUPLICATE_S,
            )
        )


class Bus:
    """Publishes events. The broker has acknowledged an event when `publish` returns."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.js = client.jetstream(timeout=PUBLISH_S)

    @property
    def connected(self) -> bool:
        """Whether the connection to the broker is up."""
        return bool(self.client.is_connected)

    async def publish(
        self, subject: str, payload: bytes, message_id: str, headers: Mapping[str, str]
    ) -> None:
        """Store one message. The same `message_id` within two minutes is stored once."""
        headers = {"Nats-Msg-Id": message_id, **headers}
        if injector := armed():
            await self._with_faults(injector, subject, payload, message_id, headers)
        else:
            await self.js.publish(subject, payload, timeout=PUBLISH_S, headers=headers)

    async def _with_faults(
        self,
        injector: Injector,
        subject: str,
        payload: bytes,
        message_id: str,
        headers: dict[str, str],
    ) -> None:
        """Store the message with the lab's faults."""
        exchange = Exchange(
            "publish", route=subject, key=message_id, headers=headers, fail=_unreachable
        )

        async def proceed(discard: bool) -> None:
            await self.js.publish(
                subject, exchange.changed(payload), timeout=PUBLISH_S, headers=exchange.headers
            )
            if discard:
                raise TimeoutError("injected: the acknowledgement was lost")

        await injector.run(exchange, proceed)


async def _unreachable(_: str) -> None:
    raise ConnectionError("injected: the broker cannot be reached")
