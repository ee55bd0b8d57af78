"""The faults of edges as data: what each does on the wire, and which toxics of the fault proxy it is made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

STREAMS = ("upstream", "downstream")
BOTH = "both"


@dataclass(frozen=True)
class EdgeKind:
    """`attributes` are ours, units last, each with the toxic's own word for it; `required` those that must be
    there; `fixed` what the toxic is told besides. `stream` is the direction if none is asked for.
    """

    toxic: str
    doc: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    fixed: Mapping[str, Any] = field(default_factory=dict)
    stream: str = "downstream"


KINDS = {
    "noop": EdgeKind("noop", "lets everything pass"),
    "latency": EdgeKind(
        "latency",
        "each chunk leaves latency_ms +- jitter_ms after it came, never early; distribution is uniform, normal"
        " or pareto",
        {"latency_ms": "latency", "jitter_ms": "jitter", "distribution": "distribution"},
        ("latency_ms",),
    ),
    "bandwidth": EdgeKind(
        "bandwidth",
        "at most rate_kb_s (1,000 bytes a second) on each connection; 0 lets nothing pass and loses nothing",
        {"rate_kb_s": "rate"},
        ("rate_kb_s",),
    ),
    "slow_close": EdgeKind(
        "slow_close", "only the close comes delay_ms late", {"delay_ms": "delay"}, ("delay_ms",)
    ),
    "blackhole": EdgeKind(
        "timeout",
        "connected, but every byte is lost; closed after close_after_ms (0: only when the fault ends)",
        {"close_after_ms": "timeout"},
        stream=BOTH,
    ),
    "reset_peer": EdgeKind(
        "reset_peer",
        "RST to both ends of each connection, open ones too: after_ms after the first data beyond after_bytes",
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
        "limit_data", "each connection is closed after exactly so many bytes", {"bytes": "bytes"}, ("bytes",)
    ),
    "packet_loss": EdgeKind(
        "packet_loss",
        "chunks are lost out of the stream with chance loss_rate, more after a loss by correlation",
        {"loss_rate": "loss_rate", "correlation": "correlation"},
    ),
    "connection_cap": EdgeKind(
        "connection_cap",
        "at most so many connections at once; when_full says whether the others queue or are told refuse (RST)."
        " Those open already stay",
        {"connections": "connections", "when_full": "when_full"},
        ("connections",),
    ),
    "down": EdgeKind("", "nobody listens: refused, and open connections are closed", stream=BOTH),
    "partition": EdgeKind(
        "bandwidth",
        "nothing passes and nothing is lost, as with TCP over a cut wire: what was sent meanwhile arrives when"
        " it is healed",
        fixed={"rate": 0},
        stream=BOTH,
    ),
}  # fmt: skip


def entries() -> list[dict[str, Any]]:
    """In the form of the services' own catalogue."""
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


PAGE = """\
## Faults of edges
On the wire between a caller and what it calls, in a lab that was started by `lab up --proxied`. The target is
an edge: `orders->payments-1`, `orders->payments` (all instances), `orders->postgres`, `ingress->gateway`, or
with stars `*->bank`, `orders->*`. Quote it, or the shell takes `>` for itself. Held by the fault proxy, whose
own the TTL is: `kill -9` of whoever asked changes nothing. Several on one edge work together (latencies add
up); `down` and `connection_cap` are refused where there is one already, and everything on an edge that is down.

```
lab faults add 'payments->bank' latency latency_ms=300 jitter_ms=50 --ttl 30
lab faults add 'orders->inventory-1' reset_peer after_ms=100 --scope share=0.2
lab faults add '*->postgres' bandwidth rate_kb_s=64 --scope stream=upstream
lab faults partition orders,payments inventory --ttl 20
```

`--scope stream=` is `upstream` (caller to callee), `downstream` or `both`; `--scope share=` the share of the
connections it hits, drawn once for each from the seed (callers keep connections open and use them again).

`lab faults partition GROUP GROUP...` cuts every edge between different groups of services, servers and
`ingress`; whoever is in no group still reaches everybody (a partial partition). With `--one-way` only what the
first group says to the second is cut: its requests, and its answers. A connection can still be opened, as the
proxy answers for the callee.

| kind | what it does | attributes | direction |
|---|---|---|---|"""


def page() -> Iterator[str]:
    """The lines of docs/faults.md on them."""
    yield PAGE
    for kind, each in KINDS.items():
        names = [f"**`{n}`**" if n in each.required else f"`{n}`" for n in each.attributes]
        yield f"| `{kind}` | {each.doc} | {', '.join(names) or 'none'} | {each.stream} |"
