"""Do messages flow? The broker's connections, streams and consumers; the registry lives in it too."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.board import Row, make
from dashboards.panels import Panel, Query, graph, number
from dashboards.promql import WINDOW


def board() -> Dashboard:
    return make(
        "nats",
        "Breakwater: NATS",
        "Events (stream EVENTS), dead letters (DEAD) and the registry (KV_registry).",
        Row("Is it there?", _there()),
        Row("What lies in the streams?", _streams()),
        Row("Do consumers keep up?", _consumers()),
    )


def _there() -> list[Panel]:
    return [
        number("Does it answer?", "1 while it does.", "short", "min(nats_up)"),
        number("How many are connected?", "Connections.", "short", "max(nats_connections)"),
        graph(
            "How many messages?",
            "Into the server and out of it.",
            "cps",
            Query(f"sum by (direction) (rate(nats_messages_total{WINDOW}))", "{{direction}}"),
            span=16,
        ),
        graph(
            "How many bytes?",
            "Into the server and out of it.",
            "Bps",
            Query(f"sum by (direction) (rate(nats_bytes_total{WINDOW}))", "{{direction}}"),
        ),
        graph(
            "How much memory does it use?",
            "Resident set of the server.",
            "bytes",
            Query("max(nats_memory_bytes)", "nats"),
        ),
    ]


def _streams() -> list[Panel]:
    return [
        graph(
            "How many messages does each stream hold?",
            "EVENTS keeps what was published; in DEAD each message wants a person.",
            "short",
            Query("max by (stream) (nats_stream_messages)", "{{stream}}"),
        ),
        graph(
            "How large is each stream?",
            "On disk.",
            "bytes",
            Query("max by (stream) (nats_stream_bytes)", "{{stream}}"),
        ),
    ]


def _consumers() -> list[Panel]:
    by = "stream, consumer"
    legend = "{{stream}} {{consumer}}"
    return [
        graph(
            "How many messages wait?",
            "Not delivered yet.",
            "short",
            Query(f"max by ({by}) (nats_consumer_pending)", legend),
        ),
        graph(
            "How many are in work?",
            "Delivered, not acknowledged yet.",
            "short",
            Query(f"max by ({by}) (nats_consumer_unacknowledged)", legend),
        ),
        graph(
            "How many are being given again?",
            "Delivered more than once and still not acknowledged.",
            "short",
            Query(f"max by ({by}) (nats_consumer_redelivered)", legend),
        ),
        graph(
            "Is a client too slow?",
            "Connections that the server cut because they did not read.",
            "cps",
            Query(f"sum(rate(nats_slow_consumers_total{WINDOW}))", "slow consumers"),
        ),
    ]
