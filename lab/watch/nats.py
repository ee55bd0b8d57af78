"""Metrics of NATS from its monitoring page: the server, its streams and their durable consumers."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import SplitResult

from lab.prometheus_text import Exposition

ANSWER_BYTES_MAX = 4 * 1024 * 1024
PATHS = ("/varz", "/jsz?consumers=true&config=true")
CONSUMERS = (
    ("nats_consumer_pending", "num_pending", "Messages waiting for the consumer"),
    ("nats_consumer_unacknowledged", "num_ack_pending", "Messages being handled"),
    ("nats_consumer_redelivered", "num_redelivered", "Messages being handled after a redelivery"),
)


async def fetch(monitoring: SplitResult) -> dict[str, Any]:
    """Returns the content of `/varz`, with that of `/jsz` under `jsz`. Raises OSError, EOFError, ValueError."""
    varz, jsz = [json.loads(await _get(monitoring, path)) for path in PATHS]
    return {**varz, "jsz": jsz}


def write_metrics(page: Exposition, server: dict[str, Any]) -> None:
    page.family("nats_connections", "gauge", "Client connections")
    page.sample(server["connections"])
    page.family("nats_memory_bytes", "gauge", "Resident memory")
    page.sample(server["mem"])
    page.family("nats_slow_consumers_total", "counter", "Connections closed because they were slow")
    page.sample(server["slow_consumers"])
    for what in ("messages", "bytes"):
        page.family(f"nats_{what}_total", "counter", f"{what.capitalize()} from and to clients")
        for direction in ("in", "out"):
            field = f"{direction}_{'msgs' if what == 'messages' else what}"
            page.sample(server[field], direction=direction)
    accounts = server["jsz"].get("account_details", [])
    streams = [each for account in accounts for each in account.get("stream_detail", [])]
    for what in ("messages", "bytes"):
        page.family(f"nats_stream_{what}", "gauge", f"{what.capitalize()} stored")
        for stream in streams:
            page.sample(stream["state"][what], stream=stream["name"])
    for name, field, help_ in CONSUMERS:
        page.family(name, "gauge", help_)
        for stream in streams:
            for consumer in stream.get("consumer_detail") or ():
                if "durable_name" in consumer.get(
                    "config", {}
                ):  # consumers without a durable name are watchers
                    labels = {"stream": stream["name"], "consumer": consumer["name"]}
                    page.sample(consumer[field], **labels)


async def _get(url: SplitResult, path: str) -> bytes:
    """Returns the body at `path` below `url`, by HTTP/1.0: it ends at the end of the connection."""
    reader, writer = await asyncio.open_connection(url.hostname, url.port, limit=ANSWER_BYTES_MAX)
    try:
        writer.write(f"GET {url.path}{path} HTTP/1.0\r\nHost: {url.netloc}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if head.split(b" ", 2)[1] != b"200":
            raise ValueError(f"{path}: the answer is not 200")
        return await reader.read(-1)
    finally:
        writer.close()
