"""Does the cache help? Hits, memory and evictions of Valkey, and what the catalogue made of them."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.board import Row, make
from dashboards.panels import Panel, Query, graph, number
from dashboards.promql import WINDOW, rate, share

LOOKUPS = rate("cache_lookups_total", by="service")


def board() -> Dashboard:
    return make(
        "valkey",
        "Breakwater: Valkey",
        "The catalogue's cache. The shop must live without it, only slower.",
        Row("Is it there?", _there()),
        Row("Does it help?", _helps()),
        Row("Does it fit?", _fits()),
    )


def _there() -> list[Panel]:
    return [
        number("Does it answer?", "1 while it does.", "short", "min(valkey_up)"),
        number("How many clients?", "Connections.", "short", "max(valkey_clients)"),
        graph(
            "How many commands?",
            "Commands a second.",
            "cps",
            Query(f"sum(rate(valkey_commands_total{WINDOW}))", "commands"),
            span=16,
        ),
    ]


def _helps() -> list[Panel]:
    hits = 'valkey_keyspace_total{result="hit"}'
    return [
        graph(
            "What share of look-ups does the service find?",
            "As the catalogue counts: early ones were refreshed before they expired.",
            "percentunit",
            Query(
                share(rate("cache_lookups_total", 'result=~"hit|early"', by="service"), LOOKUPS),
                "{{service}}",
            ),
        ),
        graph(
            "What becomes of look-ups?",
            "down: there was no Valkey to ask, and the database answered.",
            "cps",
            Query(rate("cache_lookups_total", by="service, result"), "{{service}} {{result}}"),
            stacked=True,
        ),
        graph(
            "What share of keys does the server find?",
            "As Valkey counts, over all clients.",
            "percentunit",
            Query(
                share(f"sum(rate({hits}{WINDOW}))", f"sum(rate(valkey_keyspace_total{WINDOW}))"),
                "hits",
            ),
            span=24,
        ),
    ]


def _fits() -> list[Panel]:
    return [
        graph(
            "How much memory does it use?",
            "Used, and allowed.",
            "bytes",
            Query("max(valkey_memory_bytes)", "used"),
            Query("max(valkey_memory_max_bytes) > 0", "allowed"),
        ),
        graph(
            "How many keys are there?",
            "In all databases.",
            "short",
            Query("max(valkey_keys)", "keys"),
        ),
        graph(
            "Why do keys go?",
            "Expired by their time; evicted because memory is short.",
            "cps",
            Query(f"sum(rate(valkey_expired_keys_total{WINDOW}))", "expired"),
            Query(f"sum(rate(valkey_evicted_keys_total{WINDOW}))", "evicted"),
            span=24,
        ),
    ]
