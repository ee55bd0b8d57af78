"""Valkey's INFO as metrics."""

from __future__ import annotations

import asyncio

from lab.prometheus_text import Exposition

# metric, type, field of INFO, what it says
PLAIN = (
    ("valkey_clients", "gauge", "connected_clients", "Client connections"),
    ("valkey_memory_bytes", "gauge", "used_memory", "Memory in use"),
    ("valkey_memory_max_bytes", "gauge", "maxmemory", "Memory allowed; beyond it keys are evicted"),
    ("valkey_commands_total", "counter", "total_commands_processed", "Commands processed"),
    ("valkey_evicted_keys_total", "counter", "evicted_keys", "Keys that had to make room"),
    ("valkey_expired_keys_total", "counter", "expired_keys", "Keys whose time was over"),
)


async def ask(host: str, port: int) -> dict[str, str]:
    """INFO's fields. Raises OSError, EOFError, ValueError."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(b"INFO\r\n")
        head = await reader.readline()  # $<bytes>
        if not head.startswith(b"$"):
            raise ValueError(f"not an answer to INFO: {head!r}")
        text = (await reader.readexactly(int(head[1:]))).decode()
    finally:
        writer.close()
    fields = (line.partition(":") for line in text.splitlines())
    return {name: value for name, colon, value in fields if colon}


def tell(page: Exposition, info: dict[str, str]) -> None:
    for name, kind, field, says in PLAIN:
        page.family(name, kind, says)
        page.sample(int(info[field]))
    page.family("valkey_keyspace_total", "counter", "Look-ups of keys")
    page.sample(int(info["keyspace_hits"]), result="hit")
    page.sample(int(info["keyspace_misses"]), result="miss")
    page.family("valkey_keys", "gauge", "Keys stored")
    keyspaces = [value for name, value in info.items() if name.startswith("db")]
    page.sample(sum(int(value.partition("keys=")[2].split(",")[0] or 0) for value in keyspaces))
