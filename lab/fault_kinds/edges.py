"""The faults of edges as data: what each does, and the toxic of the fault proxy that does it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

STREAMS = ("upstream", "downstream")
BOTH = "both"


@dataclass(frozen=True)
class EdgeKind:
    """`attributes` maps our names, units last, to the toxic's; `fixed` are further values of the toxic; `stream`
    is the default direction.
    """

    toxic: str
    doc: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    fixed: Mapping[str, Any] = field(default_factory=dict)
    stream: str = "downstream"


KINDS = {
    "noop": EdgeKind("noop", "changes nothing"),
    "latency": EdgeKind(
        "latency",
        "each chunk leaves latency_ms +- jitter_ms after its arrival, never early; distribution is uniform, normal"
        " or pareto",
        {"latency_ms": "latency", "jitter_ms": "jitter", "distribution": "distribution"},
        ("latency_ms",),
    ),
    "bandwidth": EdgeKind(
        "bandwidth",
        "at most rate_kb_s (1,000 bytes a second) on each connection; 0 passes nothing and loses nothing",
        {"rate_kb_s": "rate"},
        ("rate_kb_s",),
    ),
    "slow_close": EdgeKind(
        "slow_close", "only the close is delay_ms late", {"delay_ms": "delay"}, ("delay_ms",)
    ),
    "blackhole": EdgeKind(
        "timeout",
        "connections open, but every byte is lost; closed after close_after_ms (0: only when the fault ends)",
        {"close_after_ms": "timeout"},
        stream=BOTH,
    ),
    "reset_peer": EdgeKind(
        "reset_peer",
        "RST to both ends of each connection, also of open ones: after_ms after the first data beyond after_bytes",
        {"after_ms": "timeout", "after_bytes": "bytes"},
    ),
    "slicer": EdgeKind(
        "slicer",
        "chunks of average_bytes +- variation_bytes, delay_us apart",
        {
            "average_bytes": "average_size",
            "variation_bytes": "size_variation",
            "delay_us": "delay",
        },
        ("average_bytes",),
    ),
    "limit_data": EdgeKind(
        "limit_data", "each connection is closed after exactly `bytes` bytes", {"bytes": "bytes"}, ("bytes",)
    ),
    "packet_loss": EdgeKind(
        "packet_loss",
        "chunks of the stream are lost with probability loss_rate, more after a loss by correlation",
        {"loss_rate": "loss_rate", "correlation": "correlation"},
    ),
    "connection_cap": EdgeKind(
        "connection_cap",
        "at most `connections` connections at once; when_full is queue or refuse (RST) for the others."
        " Open ones stay",
        {"connections": "connections", "when_full": "when_full"},
        ("connections",),
    ),
    "down": EdgeKind("", "new connections are refused, and open ones are closed", stream=BOTH),
    "partition": EdgeKind(
        "bandwidth",
        "nothing passes and nothing is lost, as with TCP over a cut cable: data sent in that time arrives after"
        " the fault",
        fixed={"rate": 0},
        stream=BOTH,
    ),
}  # fmt: skip


def entries() -> list[dict[str, Any]]:
    """As JSON; `attributes` maps each name to whether it is required."""
    return [
        {
            "kind": kind,
            "doc": each.doc,
            "points": ["edge"],
            "attributes": {name: name in each.required for name in each.attributes},
            "stream": each.stream,
        }
        for kind, each in KINDS.items()
    ]
