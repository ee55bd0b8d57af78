"""Valkey: hits, memory and evictions of the cache, and the look-ups of the catalogue."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.board import Row, make
from dashboards.panels import Panel, Query, graph, number
from dashboards.promql import WINDOW, rate, share

LOOKUPS = rate("cache_lookups_total", by="service")


def board() -> Dashboard:
    return make(
        "valkey",
        "Breakwater: Valkey",
        "The catalogue's cache. Without it the shop is slower, but works.",
        Row("Server", _server()),
        Row("Hit rate", _hits()),
        Row("Memory and keys", _memory()),
    )


def _server() -> list[Panel]:
    return [
        number("Up", "1 while Valkey answers.", "short", "min(valkey_up)"),
        number("Clients", "Open client connections.", "short", "max(valkey_clients)"),
        graph(
            "Commands",
            "Commands per second.",
            "cps",
            Query(f"sum(rate(valkey_commands_total{WINDOW}))", "commands"),
            span=16,
        ),
    ]


def _hits() -> list[Panel]:
    hits = 'valkey_keyspace_total{result="hit"}'
    return [
        graph(
            "Hit rate of the catalogue",
            "Counted by the products service. Early refreshes before the expiry count as hits.",
            "percentunit",
            Query(
                share(rate("cache_lookups_total", 'result=~"hit|early"', by="service"), LOOKUPS),
                "{{service}}",
            ),
        ),
        graph(
            "Look-ups by result",
            "down: Valkey was not available, and the database answered.",
            "cps",
            Query(rate("cache_lookups_total", by="service, result"), "{{service}} {{result}}"),
            stacked=True,
        ),
        graph(
            "Hit rate of the server",
            "Counted by Valkey over all clients.",
            "percentunit",
            Query(
                share(f"sum(rate({hits}{WINDOW}))", f"sum(rate(valkey_keyspace_total{WINDOW}))"),
                "hits",
            ),
            span=24,
        ),
    ]


def _memory() -> list[Panel]:
    return [
        graph(
            "Memory",
            "Memory in use, and the limit.",
            "bytes",
            Query("max(valkey_memory_bytes)", "used"),
            Query("max(valkey_memory_max_bytes) > 0", "allowed"),
        ),
        graph("Keys", "Keys in all databases.", "short", Query("max(valkey_keys)", "keys")),
        graph(
            "Removed keys",
            "Keys that expired, and keys that were evicted because memory was full.",
            "cps",
            Query(f"sum(rate(valkey_expired_keys_total{WINDOW}))", "expired"),
            Query(f"sum(rate(valkey_evicted_keys_total{WINDOW}))", "evicted"),
            span=24,
        ),
    ]
