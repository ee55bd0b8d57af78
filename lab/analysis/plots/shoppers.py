"""Plots of what shoppers experienced: response times, outcomes, percentiles, and the delivered load."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from lab.analysis import latency
from lab.analysis.latency import shopper_requests
from lab.analysis.plots.style import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    OUTCOMES,
    RED,
    SECONDS,
    SKY,
    canvas,
    legend,
    log_axis,
    shade,
    show_text,
    styled,
)
from lab.analysis.windows import fault_bands, is_disturbed, load_span
from lab.archive import Run

ROUTES_MAX = 4
FIRST_ROUTE = "POST /api/orders"  # the most important route of a shop


def main_routes(run: Run, at_most: int = ROUTES_MAX) -> list[str]:
    """The routes to plot: placing an order, then the most frequent ones."""
    shopper_requests(run)
    counted = run.sql(
        "SELECT route FROM shopper_requests WHERE route NOT LIKE '%/login'"
        " GROUP BY route ORDER BY route <> ?, count(*) DESC, route",
        [FIRST_ROUTE],
    ).fetchall()
    return [route for (route,) in counted[:at_most]]


@styled
def latency_over_time(run: Run, routes: Sequence[str] | None = None) -> Figure:
    """The response time of each request, and the p95 of each second."""
    routes = main_routes(run) if routes is None else list(routes)
    figure, panels = canvas(max(len(routes), 1), 2.0, sharex=True, sharey=True)
    if not routes:
        show_text(panels[0], "no request was recorded")
        return figure
    for panel, route in zip(panels, routes, strict=True):
        draw_route(panel, run, route, label="bottom" if panel is panels[0] else "")
    legend(figure, panels[0])
    panels[-1].set_xlabel(SECONDS)
    figure.supylabel("response time from the intended start, ms", fontsize=10, color=INK)
    return figure


def draw_route(panel: Axes, run: Run, route: str, *, label: str) -> None:
    """Draw the requests of one route, on an axis of seconds since the load began."""
    start, end = load_span(run)
    shade(panel, fault_bands(run), start, label=label)
    frame = shopper_requests(run).df()
    own = frame[frame["route"] == route]
    at, took_ms = own["intended_start_s"] - start, 1000 * own["response_s"]
    good = own["outcome"] == "ok"
    panel.scatter(at[good], took_ms[good], s=5, color=SKY, alpha=0.45, linewidth=0,
                  rasterized=True, label="request")  # fmt: skip
    panel.scatter(at[~good], took_ms[~good], s=22, color=RED, marker="x", linewidth=1.2,
                  label="failed or unknown")  # fmt: skip
    each = latency.over_time(run, route)
    panel.plot(
        each["start_s"] - start + 0.5, each["p95_ms"], color=BLUE, label="p95 of each second"
    )
    panel.set_title(f"{route}:  {_before_during_after(run, route)}")
    log_axis(panel)
    panel.set_xlim(0, end - start)


@styled
def answers_over_time(run: Run) -> Figure:
    """Requests per second by outcome."""
    figure, (panel,) = canvas(1, 2.7)
    frame = shopper_requests(run).df()
    if frame.empty:
        show_text(panel, "no request was recorded")
        return figure
    start, end = load_span(run)
    frame["what"] = np.where(frame["dropped"], "dropped", frame["outcome"].fillna("unknown"))
    second = ((frame["intended_start_s"] - start) // 1).astype(int)
    counts = frame.groupby([second, "what"]).size().unstack(fill_value=0)
    counts = counts.reindex(range(int(end - start) + 1), fill_value=0)
    shade(panel, fault_bands(run), start)
    base = np.zeros(len(counts))
    for what, colour in OUTCOMES.items():
        if what in counts:
            label = {"ok": "succeeded", "fail": "failed", "dropped": "not sent"}.get(what, what)
            panel.bar(
                counts.index + 0.5, counts[what], width=0.92, bottom=base, color=colour, label=label
            )
            base += counts[what].to_numpy()
    bad = {what: int((frame["what"] == what).sum()) for what in ("fail", "unknown", "dropped")}
    total = len(frame)
    if not any(bad.values()):
        panel.set_title(f"Requests by outcome:  all {total:,} succeeded")
    else:
        panel.set_title(
            f"Requests by outcome:  of {total:,}, {bad['fail']:,} failed,"
            f" {bad['unknown']:,} are unknown, {bad['dropped']:,} were not sent"
        )
    legend(figure, panel)
    panel.set_ylabel("requests / s")
    panel.set_xlabel(SECONDS)
    panel.set_xlim(0, end - start)
    return figure


@styled
def spectrum(run: Run, route: str) -> Figure:
    """Latency percentiles before, during and after the fault."""
    figure, (panel,) = canvas(1, 3.2)
    colours = {"before": SKY, "during": RED, "after": GREEN}
    for over, colour in colours.items():
        took = np.sort(latency.response_times(run, route, over))
        if not len(took):
            continue
        # Each value represents an equal share of the requests. There is no data beyond the last one.
        share = (np.arange(1, len(took) + 1) - 0.5) / len(took)
        panel.plot(1.0 / (1.0 - share), 1000 * took, color=colour, drawstyle="steps-post",
                   label=f"{over} ({len(took):,} requests)")  # fmt: skip
    panel.set_xscale("log")
    reach = max(100.0, 3.0 * len(latency.response_times(run, route)))
    marks = [q for q in (0.0, 0.5, 0.9, 0.95, 0.99, 0.999, 0.9999) if 1 / (1 - q) <= reach]
    panel.set_xticks([1 / (1 - q) for q in marks], [_percentile(q) for q in marks])
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.tick_params(axis="x", which="minor", length=0)
    panel.set_xlim(1, reach)
    log_axis(panel)
    panel.set_ylabel("response time, ms")
    panel.set_xlabel("percentile of requests")
    panel.set_title(f"{route}:  latency percentiles")
    legend(figure, panel)
    return figure


@styled
def naive_and_intended(spectra: pd.DataFrame) -> Figure:
    """Naive percentiles and percentiles from the intended start: the gap is coordinated omission."""
    figure, (panel,) = canvas(1, 3.0)
    if spectra.empty:
        show_text(panel, "no request was sent")
        return figure
    at = 1.0 / (1.0 - spectra["quantile"])
    for name, colour, label in (
        ("naive_ms", ORANGE, "from the actual send (naive)"),
        ("intended_ms", BLUE, "from the intended start"),
    ):
        panel.plot(at, spectra[name], color=colour, marker="o", markersize=4, label=label)
    panel.set_xscale("log")
    panel.set_xticks(list(at), [_percentile(q) for q in spectra["quantile"]], rotation=30)
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.tick_params(axis="x", which="minor", length=0)
    log_axis(panel)
    panel.set_ylabel("response time, ms")
    panel.set_xlabel("percentile of requests")
    panel.set_title("Latency percentiles with and without coordinated omission")
    legend(figure, panel)
    return figure


@styled
def load_delivered(run: Run) -> Figure:
    """Requests due and sent per second, and how late each request was sent."""
    figure, (arrivals, lag) = canvas(2, 1.9, sharex=True)
    frame = shopper_requests(run).df()
    if frame.empty:
        show_text(arrivals, "no request was recorded")
        show_text(lag, "")
        return figure
    start, end = load_span(run)
    bands = fault_bands(run)
    bins = np.arange(0, math.ceil(end - start) + 1)
    planned, _ = np.histogram(frame["intended_start_s"] - start, bins)
    sent, _ = np.histogram((frame["actual_start_s"] - start).dropna(), bins)
    shade(arrivals, bands, start)
    arrivals.stairs(planned, bins, color=INK, linewidth=1.2, label="due")
    arrivals.stairs(sent, bins, color=SKY, fill=True, alpha=0.5, label="sent")
    lags = latency.send_lag(run)
    arrivals.set_title(f"Load:  {int(sent.sum()):,} of {int(planned.sum()):,} requests sent")
    arrivals.set_ylabel("requests / s")
    arrivals.set_ylim(0, float(planned.max()) * 1.2)
    legend(figure, arrivals)
    shade(lag, bands, start, label="")
    lag.scatter(frame["intended_start_s"] - start, (1000 * frame["lag_s"]).clip(lower=1e-2), s=4,
                color=BLUE, alpha=0.4, linewidth=0, rasterized=True)  # fmt: skip
    log_axis(lag)
    lag.set_ylabel("send lag, ms")
    lag.set_title(f"Send lag:  p99 {lags.get('p99', math.nan):.1f} ms")
    lag.set_xlabel(SECONDS)
    lag.set_xlim(0, end - start)
    return figure


def _before_during_after(run: Run, route: str) -> str:
    """The p95 in each window; of a load without a fault, in all of it."""
    disturbed = is_disturbed(run)
    parts = []
    for over in ("before", "during", "after") if disturbed else ("all",):
        took = latency.response_times(run, route, over)
        if len(took) >= 20:
            when = f" {over}" if disturbed else ""
            parts.append(f"{1000 * np.quantile(took, 0.95):,.0f} ms{when}")
    return f"p95 {', '.join(parts)}" if parts else "too few requests for a p95"


def _percentile(q: float) -> str:
    return "min" if q == 0 else f"p{100 * q:g}"
