"""Dead letters: lists the messages that a service could not handle, and publishes them again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import nats
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from lab.chaos.probes import Configuration, NotObservedError, configured_lab

STREAM = "DEAD"
BATCH = 100
ANSWER_S = 1.0
T = TypeVar("T")


def dead_letters(service: str, configuration: Configuration | None = None) -> list[dict[str, Any]]:
    """The dead letters of the service: {sequence, subject, reason, payload}, oldest first."""
    return _with_broker(configuration, lambda js: _letters(js, service))


def dead_letters_become(
    service: str, count: int, within_s: float, configuration: Configuration | None = None
) -> float:
    """Seconds until the service had exactly `count` dead letters. Raises after `within_s`."""
    started = time.monotonic()
    while (found := len(dead_letters(service, configuration))) != count:
        if time.monotonic() - started > within_s:
            raise NotObservedError(
                f"{found} dead letters of {service} after {within_s:g} s, not {count}"
            )
        time.sleep(0.3)
    return round(time.monotonic() - started, 3)


def redrive(service: str, configuration: Configuration | None = None) -> int:
    """Publishes each dead letter again under its original subject, then deletes it; returns their number.

    The consumer deduplicates events by id: one that it has handled has no second effect.
    """

    async def redrive_all(js: JetStreamContext) -> int:
        letters = await _letters(js, service)
        for letter in letters:
            message_id = f"redrive-{letter['sequence']}"
            headers = {"Nats-Msg-Id": message_id}
            await js.publish(letter["subject"], letter["payload"].encode(), headers=headers)
            await js.delete_msg(STREAM, letter["sequence"])
        return len(letters)

    return _with_broker(configuration, redrive_all)


async def _letters(js: JetStreamContext, service: str) -> list[dict[str, Any]]:
    config = ConsumerConfig(deliver_policy=DeliverPolicy.ALL, inactive_threshold=5.0)
    try:
        await js.stream_info(STREAM)
    except NotFoundError:
        raise NotObservedError(f"the broker has no stream {STREAM}") from None
    subscription = await js.pull_subscribe(f"dead.{service}.>", stream=STREAM, config=config)
    found: list[dict[str, Any]] = []
    with contextlib.suppress(TimeoutError):
        while (await subscription.consumer_info()).num_pending:
            for message in await subscription.fetch(BATCH, timeout=ANSWER_S):
                headers = message.headers or {}
                found.append(
                    {
                        "sequence": message.metadata.sequence.stream,
                        "subject": headers["Original-Subject"],
                        "reason": json.loads(headers.get("Reason", '""')),
                        "payload": message.data.decode("utf-8", "replace"),
                    }
                )
    await subscription.unsubscribe()
    return found


def _with_broker(
    configuration: Configuration | None, work: Callable[[JetStreamContext], Awaitable[T]]
) -> T:
    """Raises NotObservedError if the broker does not answer: that is not the same as no letters."""
    url = configured_lab(configuration).state.addresses["nats"]

    async def connected() -> T:
        try:
            client = await nats.connect(url, connect_timeout=2, allow_reconnect=False)
        except (OSError, TimeoutError, nats.errors.Error) as error:
            at = url.rpartition("@")[2]  # the rest is a secret
            raise NotObservedError(f"no connection to the broker at {at}: {error}") from None
        try:
            return await work(client.jetstream(timeout=2))
        finally:
            await client.close()

    return asyncio.run(connected())
