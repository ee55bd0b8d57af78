"""The critical path of a request: at each moment, the span that the request waited for."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

ASYNCHRONOUS = ("producer", "consumer")  # no caller waits for an event
CANCELLED = (
    "CancelledError"  # the error.type of a call that its caller cancelled, e.g. a lost hedge
)

Offsets = Mapping[tuple[str, str], int]


@dataclass(frozen=True, slots=True)
class Span:
    """One span. Times are in ns, on the clock of `instance`."""

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
        """The owner of the span's self time: the service, or for a call the edge (`orders->payments`)."""
        if self.kind != "client":
            return self.service
        return self.peer if "->" in self.peer else f"{self.service}->{self.peer or '?'}"


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of the root's time (ns, on the root's clock) that was spent in `span` itself."""

    span: Span
    start_ns: int
    end_ns: int

    @property
    def duration_ns(self) -> int:
        return self.end_ns - self.start_ns


@dataclass
class Trace:
    """The spans of one trace as a tree. The parent of a `lost` span is not in the trace."""

    root: Span
    children: dict[str, list[Span]] = field(default_factory=dict)
    lost: list[Span] = field(default_factory=list)
    shift_ns: dict[str, int] = field(
        default_factory=dict
    )  # by span: the shift onto the root's clock

    def times(self, span: Span) -> tuple[int, int]:
        """(start, end) of a span on the root's clock."""
        shift = self.shift_ns.get(span.id, 0)
        return span.start_ns + shift, span.end_ns + shift

    def depth_first(self) -> Iterable[tuple[int, Span]]:
        """(depth, span) in the order of a waterfall: depth first from the root, siblings by start."""
        stack = [(0, self.root)]
        while stack:
            depth, span = stack.pop()
            yield depth, span
            below = sorted(self.children.get(span.id, []), key=lambda each: each.start_ns)
            stack += [(depth + 1, each) for each in reversed(below)]


def trace_of(spans: Sequence[Span], offsets: Offsets | None = None) -> Trace | None:
    """The tree of one trace's spans; None if no server span can be its root.

    The root is the earliest server span whose parent is not in the trace. Other spans without a
    parent are `lost`, with all spans below them.
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
    """The pieces of the root's time in order. Their durations sum to the root's duration exactly.

    The algorithm goes backwards from the root's end. The span waited for the child that finished
    last; before that, for the child that finished before that one started, and so on. Time without
    a child is the span's own time. A child counts only while its parent runs: a caller that gave up
    waited until then. Events do not count. A lost hedge counts until the winning call started.
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
    """How far the callee's clock is behind its caller's, in ns, if the spans prove a difference.

    pairs: (caller, callee) instances, start and end of the call, start and end of its handling. As
    in NTP, the handling is assumed to be in the middle of the call. If the handling is inside the
    call on the median, the clocks are assumed to agree: a late start is a queue, not clock skew.
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
    """The children on the critical path with the time that the span waited for them, last first."""
    candidates = []
    for child in trace.children.get(span.id, []):
        if child.kind in ASYNCHRONOUS and span.kind not in ASYNCHRONOUS:
            continue
        low, high = trace.times(child)
        if max(low, start) < min(high, end):
            candidates.append((child, max(low, start), min(high, end)))
    candidates = [
        (child, low, _wait_end(child, low, high, candidates)) for child, low, high in candidates
    ]
    until = end
    # Latest end first. Of two with the same end, the one that began first covers more time.
    for child, low, high in sorted(candidates, key=lambda each: (-each[2], each[1])):
        if low < high <= until:
            yield child, low, high
            until = low


def _wait_end(child: Span, low: int, high: int, siblings: Sequence[tuple[Span, int, int]]) -> int:
    """The end of the wait for an abandoned call: the start of the sibling that won."""
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
