"""Messages of a durable consumer by one long pull: each arrives as soon as it is published.

A request asks for many messages and stays open. nats-py's `fetch` sends two requests for each batch, and waits for
each message with a timer of its own.
"""

import asyncio
import json

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext

from chassis.background import until_beat_s

BATCH = 20
OPEN_S = 5.0  # a request ends after this time at most, so that one that was lost is repeated
GATHER_S = 0.2  # from the first message of a batch: a round costs more than its messages
_AGAIN = ("404", "408")  # the request has ended without an error


class Pull:
    """`batch` waits for messages, `lag` counts them. `finished` each message when it is done."""

    def __init__(self, client: Client, js: JetStreamContext, stream: str, consumer: str) -> None:
        self._client = client
        self._js = js
        self._stream = stream
        self._consumer = consumer
        self._inbox = client.new_inbox()
        self._arrived: list[Msg] = []
        self._wake = asyncio.Event()
        self._wanted = 0  # messages that the open request still may bring; 0: there is none
        self._error: NatsError | None = None
        self._in_hand = 0
        self._others = True  # whether the broker may have messages that are not in hand
        self._connects = client.stats["reconnects"]

    async def open(self) -> None:
        self._subscription = await self._client.subscribe(self._inbox, cb=self._receive)

    async def close(self) -> None:
        if self._client.is_connected:
            await self._subscription.unsubscribe()

    async def batch(self) -> list[Msg]:
        """The next messages in their order; none after OPEN_S. Raises NatsError."""
        if not self._arrived:
            self._wake.clear()
            if self._wanted <= 0:
                await self._request()
            try:
                async with asyncio.timeout(OPEN_S + 1):
                    await self._wake.wait()
            except TimeoutError:
                self._wanted = 0  # lost, as when the broker restarts
                return []
            if self._error is not None:
                raise self._error
            # a message that comes again has waited enough
            if self._arrived and self._wanted > 0 and self._arrived[0].metadata.num_delivered == 1:
                await asyncio.sleep(GATHER_S)
        messages, self._arrived = self._arrived, []
        return messages

    def finished(self, acknowledged: bool) -> None:
        """One message of a batch is done. Without an acknowledgement the broker delivers it again."""
        self._in_hand -= 1
        self._others |= not acknowledged

    async def lag(self) -> int:
        """Messages that wait or are in progress. It asks the broker if that may know more. Raises NatsError."""
        connects = self._client.stats["reconnects"]
        if connects != self._connects or not self._client.is_connected:
            self._connects, self._others = connects, True
            self._wanted = 0  # the broker forgot the request with the connection
            self._wake.set()
        if self._wanted > 0 and not self._others:
            return self._in_hand
        info = await self._js.consumer_info(self._stream, self._consumer)
        waiting = (info.num_pending or 0) + (info.num_ack_pending or 0)
        self._others = waiting > self._in_hand
        return waiting

    async def _request(self) -> None:
        request = {"batch": BATCH, "expires": int(until_beat_s(OPEN_S) * 1e9)}
        self._wanted = BATCH
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._consumer}"
        await self._client.publish(subject, json.dumps(request).encode(), self._inbox)

    async def _receive(self, message: Msg) -> None:
        status = (message.headers or {}).get("Status") if not message.data else None
        if status is None:
            self._wanted -= 1
            self._in_hand += 1
            self._arrived.append(message)
        else:
            self._wanted = 0
            if status not in _AGAIN:
                reason = (message.headers or {}).get("Description", "no answer")
                self._error = NatsError(f"consumer {self._consumer}: {status} {reason}")
        self._wake.set()
