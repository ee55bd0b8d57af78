"""Plots of traces: time by hop before and during the fault, over time, and the waterfall of a request."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from lab.analysis.plots.style import (
    BLUE,
    GREEN,
    GRID,
    INK,
    MUTED,
    ORANGE,
    PINK,
    RED,
    SECONDS,
    SKY,
    canvas,
    legend,
    shade,
    show_text,
    styled,
)
from lab.analysis.tracing.critical_path import critical_path
from lab.analysis.tracing.traces import Traces
from lab.analysis.windows import fault_bands, load_span
from lab.archive import Run

HOPS_MAX = 8
COLOURS = (BLUE, ORANGE, GREEN, SKY, PINK, "#8c6d31", MUTED)
ROWS_MAX = 40


@styled
def time_by_hop(traces: Traces, route: str | None = None) -> Figure:
    """Mean time on the critical path by hop, before and during the fault."""
    route = route or next(iter(traces.routes()), None)
    change = traces.change(route)
    if change.empty:
        figure, (panel,) = canvas(1)
        show_text(panel, "there are no traces before the fault, or none during it")
        return figure
    largest = change.max(axis=1).nlargest(HOPS_MAX).index
    rows = change.loc[[hop for hop in change.index if hop in largest]]
    figure, (panel,) = canvas(1, 1.0 + 0.42 * len(rows))
    at = np.arange(len(rows))
    panel.barh(at - 0.19, rows["before_ms"], height=0.36, color=BLUE, label="before")
    panel.barh(at + 0.19, rows["during_ms"], height=0.36, color=ORANGE, label="during")
    for y, added in zip(at, rows["added_ms"], strict=True):
        end = rows[["before_ms", "during_ms"]].iloc[y].max()
        panel.annotate(_signed(added), (end, y), xytext=(5, 0), textcoords="offset points",
                       va="center", fontsize=8.5, color=INK)  # fmt: skip
    panel.set_yticks(at, [hop.replace("->", " → ") for hop in rows.index])
    panel.invert_yaxis()
    panel.margins(x=0.12)
    panel.grid(axis="y", visible=False)
    panel.set_xlabel("mean time on the critical path, ms per request")
    added = change["added_ms"].sum()
    worst = rows.index[0].replace("->", " → ")
    most = f", {worst} {_signed(rows['added_ms'].iloc[0])}" if added > 0 else ""
    panel.set_title(f"{route}:  mean time during the fault {_signed(added)}{most}")
    legend(figure, panel)
    return figure


@styled
def mean_time_by_hop(traces: Traces, route: str | None = None) -> Figure:
    """Mean time on the critical path by hop, of all requests: for a load without a fault."""
    route = route or next(iter(traces.routes()), None)
    hops = traces.hops("all", route).head(HOPS_MAX)
    figure, (panel,) = canvas(1, 1.0 + 0.32 * len(hops))
    if hops.empty:
        show_text(panel, "there are no traces of this route")
        return figure
    at = np.arange(len(hops))
    panel.barh(at, hops["ms"], height=0.6, color=BLUE)
    for y, ms in zip(at, hops["ms"], strict=True):
        panel.annotate(f"{ms:,.1f} ms", (ms, y), xytext=(5, 0), textcoords="offset points",
                       va="center", fontsize=8.5, color=INK)  # fmt: skip
    panel.set_yticks(at, [str(hop).replace("->", " → ") for hop in hops.index])
    panel.invert_yaxis()
    panel.margins(x=0.12)
    panel.grid(axis="y", visible=False)
    panel.set_xlabel("mean time on the critical path, ms per request")
    panel.set_title(f"{route}:  mean time {traces.hops('all', route)['ms'].sum():,.0f} ms")
    return figure


@styled
def time_over_time(
    run: Run, traces: Traces, route: str | None = None, width_s: float = 1.0
) -> Figure:
    """Mean time of a request by hop over time, stacked, with the bands of the faults."""
    route = route or next(iter(traces.routes()), None)
    figure, (panel,) = canvas(1, 3.2)
    parts = traces.over_time(route, width_s)
    if parts.empty:
        show_text(panel, "there are no traces of this route")
        return figure
    hops = _largest_hops(traces, route)
    kept = [hop for hop in hops if hop in parts.columns]
    rest = parts.drop(columns=kept).sum(axis=1)
    start, end = load_span(run)
    at = parts.index.to_numpy() - start + width_s / 2
    layers = [parts[hop].to_numpy() for hop in kept] + ([rest.to_numpy()] if rest.any() else [])
    names = [hop.replace("->", " → ") for hop in kept] + (["all others"] if rest.any() else [])
    panel.stackplot(at, layers, labels=names, colors=COLOURS, linewidth=0)
    shade(panel, fault_bands(run), start)
    panel.set_xlim(0, end - start)
    panel.set_ylabel("mean time, ms per request")
    panel.set_xlabel(SECONDS)
    panel.set_title(f"{route}:  mean time by hop")
    legend(figure, panel, columns=4)
    return figure


@styled
def waterfall(traces: Traces, trace_id: str) -> Figure:
    """The spans of one request as a waterfall, with the critical path in blue."""
    trace = traces.trace(trace_id)
    zero, end = trace.times(trace.root)
    spans = list(trace.depth_first())
    in_time = [(depth, span) for depth, span in spans if trace.times(span)[0] < end]
    rows = in_time[:ROWS_MAX]
    figure, (panel,) = canvas(1, 1.0 + 0.24 * len(rows))
    ms = 1e6
    on_path: dict[str, list[tuple[float, float]]] = {}
    for piece in critical_path(trace):
        bar = ((piece.start_ns - zero) / ms, piece.duration_ns / ms)
        on_path.setdefault(piece.span.id, []).append(bar)
    for y, (_, span) in enumerate(rows):
        first, last = trace.times(span)
        whole = [((first - zero) / ms, max((last - first) / ms, 0.05))]
        panel.broken_barh(whole, (y - 0.3, 0.6), color=RED if span.error else GRID, alpha=0.55)
        panel.broken_barh(on_path.get(span.id, []), (y - 0.3, 0.6), color=BLUE)
    labels = [f"{'  ' * min(depth, 8)}{span.service}: {span.name[:36]}" for depth, span in rows]
    panel.set_yticks(range(len(rows)), labels, fontsize=8, ha="left")
    panel.tick_params(axis="y", pad=262, length=0)
    panel.set_ylim(len(rows) - 0.4, -0.6)
    panel.grid(axis="y", visible=False)
    panel.axvline((end - zero) / ms, color=MUTED, linewidth=1.0, linestyle=":")
    panel.set_xlim(-0.01 * (end - zero) / ms, 1.06 * (end - zero) / ms)
    later = len(spans) - len(rows)
    more = f"; {later} later spans not shown" if later else ""
    panel.set_xlabel(f"ms since the gateway received it; dotted: its response{more}")
    panel.set_title(f"{trace.root.name}:  {(end - zero) / ms:,.0f} ms")
    return figure


def _largest_hops(traces: Traces, route: str | None, most: int = 6) -> Sequence[str]:
    """The hops with the most time over the whole run, the largest first."""
    return [str(hop) for hop in traces.hops("all", route).index[:most]]


def _signed(ms: float) -> str:
    return f"{ms:+,.1f} ms" if abs(ms) < 10 else f"{ms:+,.0f} ms"
