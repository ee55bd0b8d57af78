"""The critical path of a request: which span its caller was waiting for, at every moment."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

ASYNCHRONOUS = ("producer", "consumer")  # nobody waits for an event
NOT_WAITED_FOR = (
    "CancelledError"  # the error.type of a call that its caller gave up, e.g. a lost hedge
)

Offsets = Mapping[tuple[str, str], int]


@dataclass(frozen=True, slots=True)
class Span:
    """One span; times in ns of the clock of `instance`."""

    id: str
    parent: str
    service: str
    instance: str
    kind: str
    name: str
    start_ns: int
    end_ns: int
    peer: str = ""
    error: bool = False
    abandoned: bool = False  # cancelled by its own caller

    @property
    def hop(self) -> str:
        """Whose time its self time is: the service's, or for a call the edge's (`orders->payments`)."""
        if self.kind != "client":
            return self.service
        return self.peer if "->" in self.peer else f"{self.service}->{self.peer or '?'}"


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of the root's time (ns, on its clock) in which `span` itself was what took the time."""

    span: Span
    start_ns: int
    end_ns: int

    @property
    def duration_ns(self) -> int:
        return self.end_ns - self.start_ns


@dataclass
class Trace:
    """The spans of one trace as a tree. `lost` have a parent that is not in the trace."""

    root: Span
    children: dict[str, list[Span]] = field(default_factory=dict)
    lost: list[Span] = field(default_factory=list)
    shift_ns: dict[str, int] = field(default_factory=dict)  # by span, onto the root's clock

    def times(self, span: Span) -> tuple[int, int]:
        """(start, end) of a span on the root's clock."""
        shift = self.shift_ns.get(span.id, 0)
        return span.start_ns + shift, span.end_ns + shift

    def depth_first(self) -> Iterable[tuple[int, Span]]:
        """(depth, span) from the root down, siblings by start: the order of a waterfall."""
        stack = [(0, self.root)]
        while stack:
            depth, span = stack.pop()
            yield depth, span
            below = sorted(self.children.get(span.id, []), key=lambda each: each.start_ns)
            stack += [(depth + 1, each) for each in reversed(below)]


def trace_of(spans: Sequence[Span], offsets: Offsets | None = None) -> Trace | None:
    """The tree of one trace's spans; None without a server span to begin with.

    The root is the earliest server span whose parent is not among them; further ones without a parent are
    `lost`, and so is what hangs below them.
    """
    known = {span.id: span for span in spans}
    tops = [span for span in known.values() if span.parent not in known or span.parent == span.id]
    servers = sorted((each for each in tops if each.kind == "server"), key=lambda s: s.start_ns)
    if not servers:
        return None
    root = servers[0]
    children: dict[str, list[Span]] = defaultdict(list)
    for span in known.values():
        if span.parent in known and span.parent != span.id:
            children[span.parent].append(span)
    trace = Trace(root, dict(children), [each for each in tops if each is not root])
    if offsets:
        _shift(trace, offsets)
    return trace


def critical_path(trace: Trace) -> list[Piece]:
    """The pieces of the root's time in order; their durations sum to the root's exactly.

    Backwards from the root's end: the child that finished last is what was waited for, before it
    the one that finished before it started, and so on; what no child covers is the span's own. A
    child counts only while its parent runs (a caller that gave up waited until then, no longer);
    events are nobody's wait; a hedge that lost counts until the winner set out.
    """
    pieces: list[Piece] = []
    todo = [(trace.root, *trace.times(trace.root))]
    while todo:
        span, start, end = todo.pop()
        until = end
        for child, child_start, child_end in _waited_for(trace, span, start, end):
            if child_end < until:
                pieces.append(Piece(span, child_end, until))
            todo.append((child, child_start, child_end))
            until = child_start
        if start < until:
            pieces.append(Piece(span, start, until))
    return sorted(pieces, key=lambda piece: piece.start_ns)


def clock_offsets(
    pairs: Iterable[tuple[str, str, int, int, int, int]],
) -> dict[tuple[str, str], int]:
    """How far the callee's clock is behind its caller's, in ns, where the spans prove a difference.

    pairs: (caller, callee) instances with start and end of the call and of its handling. As in NTP
    the handling is taken to lie in the middle of the call. Where it lies inside anyhow, on the
    median, the clocks are taken to agree: a late start is a queue, not skew.
    """
    by_pair: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for caller, callee, call_start, call_end, start, end in pairs:
        by_pair[caller, callee].append((start - call_start, call_end - end))
    found = {}
    for pair, gaps in by_pair.items():
        lead = statistics.median(first for first, _ in gaps)
        lag = statistics.median(last for _, last in gaps)
        if lead < 0 or lag < 0:
            found[pair] = round((lag - lead) / 2)
    return found


def _waited_for(trace: Trace, span: Span, start: int, end: int) -> Iterable[tuple[Span, int, int]]:
    """The children on the path with the stretch they were waited for, the last one first."""
    candidates = []
    for child in trace.children.get(span.id, []):
        if child.kind in ASYNCHRONOUS and span.kind not in ASYNCHRONOUS:
            continue
        low, high = trace.times(child)
        if max(low, start) < min(high, end):
            candidates.append((child, max(low, start), min(high, end)))
    candidates = [
        (child, low, _until_beaten(child, low, high, candidates)) for child, low, high in candidates
    ]
    until = end
    # latest end first; of two that end together the one that began first explains more
    for child, low, high in sorted(candidates, key=lambda each: (-each[2], each[1])):
        if low < high <= until:
            yield child, low, high
            until = low


def _until_beaten(
    child: Span, low: int, high: int, siblings: Sequence[tuple[Span, int, int]]
) -> int:
    """When an abandoned call ceased to matter: as the sibling that won set out."""
    if not child.abandoned:
        return high
    winners = [
        start
        for other, start, end in siblings
        if not other.abandoned and start < high and end > low
    ]
    return max(low, min(winners)) if winners else high


def _shift(trace: Trace, offsets: Offsets) -> None:
    todo = [(trace.root, 0)]
    while todo:
        span, shift = todo.pop()
        trace.shift_ns[span.id] = shift
        for child in trace.children.get(span.id, []):
            todo.append((child, shift + offsets.get((span.instance, child.instance), 0)))
