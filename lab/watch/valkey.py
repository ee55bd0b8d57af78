"""Metrics of Valkey from its INFO command."""

from __future__ import annotations

import asyncio
from urllib.parse import SplitResult

from lab.prometheus_text import Exposition

# metric, type, field of INFO, help text
PLAIN = (
    ("valkey_clients", "gauge", "connected_clients", "Client connections"),
    ("valkey_memory_bytes", "gauge", "used_memory", "Memory in use"),
    ("valkey_memory_max_bytes", "gauge", "maxmemory", "Allowed memory; above it keys are evicted"),
    ("valkey_commands_total", "counter", "total_commands_processed", "Commands processed"),
    ("valkey_evicted_keys_total", "counter", "evicted_keys", "Keys evicted to free memory"),
    ("valkey_expired_keys_total", "counter", "expired_keys", "Expired keys"),
)


async def fetch(url: SplitResult) -> dict[str, str]:
    """Returns the fields of INFO; `url` has the user and the password. Raises OSError, EOFError, ValueError."""
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    try:
        writer.write(f"AUTH {url.username} {url.password}\r\nINFO\r\n".encode())
        if (answer := await reader.readline()) != b"+OK\r\n":
            raise ValueError(f"AUTH was answered with {answer!r}")
        head = await reader.readline()  # $<bytes>
        if not head.startswith(b"$"):
            raise ValueError(f"this is not an answer to INFO: {head!r}")
        text = (await reader.readexactly(int(head[1:]))).decode()
    finally:
        writer.close()
    fields = (line.partition(":") for line in text.splitlines())
    return {name: value for name, colon, value in fields if colon}


def write_metrics(page: Exposition, info: dict[str, str]) -> None:
    for name, kind, field, help_ in PLAIN:
        page.family(name, kind, help_)
        page.sample(int(info[field]))
    page.family("valkey_keyspace_total", "counter", "Lookups of keys")
    page.sample(int(info["keyspace_hits"]), result="hit")
    page.sample(int(info["keyspace_misses"]), result="miss")
    page.family("valkey_keys", "gauge", "Keys stored")
    keyspaces = [value for name, value in info.items() if name.startswith("db")]
    page.sample(sum(int(value.partition("keys=")[2].split(",")[0] or 0) for value in keyspaces))
