"""NATS: connections, streams and consumers of the broker. It also stores the registry."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.board import Row, make
from dashboards.panels import Panel, Query, graph, number
from dashboards.promql import WINDOW


def board() -> Dashboard:
    return make(
        "nats",
        "Breakwater: NATS",
        "Events (stream EVENTS), dead letters (DEAD), the registry and ended sessions (KV_...).",
        Row("Server", _server()),
        Row("Streams", _streams()),
        Row("Consumers", _consumers()),
    )


def _server() -> list[Panel]:
    return [
        number("Up", "1 while NATS answers.", "short", "min(nats_up)"),
        number("Connections", "Open client connections.", "short", "max(nats_connections)"),
        graph(
            "Messages",
            "Into and out of the server.",
            "cps",
            Query(f"sum by (direction) (rate(nats_messages_total{WINDOW}))", "{{direction}}"),
            span=16,
        ),
        graph(
            "Traffic",
            "Into and out of the server.",
            "Bps",
            Query(f"sum by (direction) (rate(nats_bytes_total{WINDOW}))", "{{direction}}"),
        ),
        graph(
            "Memory",
            "Resident memory of the server.",
            "bytes",
            Query("max(nats_memory_bytes)", "nats"),
        ),
    ]


def _streams() -> list[Panel]:
    return [
        graph(
            "Messages per stream",
            "EVENTS keeps published events. Each message in DEAD needs a decision by an operator.",
            "short",
            Query("max by (stream) (nats_stream_messages)", "{{stream}}"),
        ),
        graph(
            "Size of each stream",
            "Bytes on disk.",
            "bytes",
            Query("max by (stream) (nats_stream_bytes)", "{{stream}}"),
        ),
    ]


def _consumers() -> list[Panel]:
    by = "stream, consumer"
    legend = "{{stream}} {{consumer}}"
    return [
        graph(
            "Waiting messages",
            "Messages that are not delivered yet.",
            "short",
            Query(f"max by ({by}) (nats_consumer_pending)", legend),
        ),
        graph(
            "Unacknowledged messages",
            "Messages that are delivered and not acknowledged yet.",
            "short",
            Query(f"max by ({by}) (nats_consumer_unacknowledged)", legend),
        ),
        graph(
            "Redelivered messages",
            "Messages that were delivered more than once and are not acknowledged.",
            "short",
            Query(f"max by ({by}) (nats_consumer_redelivered)", legend),
        ),
        graph(
            "Slow consumers",
            "Connections that the server closed because the client did not read.",
            "cps",
            Query(f"sum(rate(nats_slow_consumers_total{WINDOW}))", "slow consumers"),
        ),
    ]
