"""Plots that compare samples scraped by Prometheus with the archive of the same time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lab.analysis import red
from lab.analysis.plots.breakers import breakers_to_show, draw_states
from lab.analysis.plots.style import (
    BLUE,
    INK,
    RED,
    SECONDS,
    canvas,
    legend,
    log_axis,
    shade,
    show_text,
    styled,
)
from lab.analysis.windows import fault_bands, load_span
from lab.archive import Run

STEP_S = 2.0
GAP_S = red.GAP_STEPS * STEP_S
LINES_MAX = 6  # the number of colours
Series = Callable[[Run], pd.DataFrame]  # time_s, value and the columns that name a line


@styled
def compare_red(archive: Run, scraped: Run, service: str) -> Figure:
    """Rate, errors and p95 of a service, from scraped counters and from recorded spans.

    Lines: the counters of `scraped` (from Prometheus or the archive). Dots: the archive's spans.
    """
    figure, panels = canvas(3, 2.0, sharex=True)
    lines = red.over_time(scraped, service, STEP_S)
    dots = red.spans_over_time(archive, service, STEP_S)
    start, end = load_span(archive)
    columns = (
        ("requests_per_s", "requests/s", BLUE),
        ("errors_per_s", "5xx/s", RED),
        ("q_ms", "p95, ms", BLUE),
    )
    for panel, (column, unit, colour) in zip(panels, columns, strict=True):
        if lines.empty and dots.empty:
            show_text(panel, f"no data of {service} was scraped or recorded")
            continue
        seen = with_gaps(lines)
        panel.plot(seen["time_s"] - start, seen[column], color=colour, label="scraped")
        panel.plot(
            dots["time_s"] - start, dots[column], ".", color=INK, markersize=4, label="spans"
        )
        panel.set_ylabel(unit)
        if column == "q_ms":
            log_axis(panel)
        _frame(panel, archive, (start, end), label="top" if panel is panels[0] else "")
    if not (lines.empty and dots.empty):
        legend(figure, panels[0])
    panels[0].set_title(f"{service}:  scraped counters (lines) and recorded spans (dots)")
    panels[2].set_xlabel(SECONDS)
    return figure


@styled
def saturation(archive: Run, scraped: Run) -> Figure:
    """Saturation: CPU, database connections in use and active requests, by instance."""
    rows: Sequence[tuple[str, str, Series]] = (
        ("Saturation by instance", "CPU, cores", _cpu),
        ("", "database\nconnections", lambda run: red.gauge(run, "db_pool_in_use")),
        ("", "active\nrequests", lambda run: red.gauge(run, "http_server_active_requests")),
    )
    figure, panels = canvas(len(rows), 2.0, sharex=True)
    span_s = load_span(archive)
    for panel, (title, unit, series) in zip(panels, rows, strict=True):
        frame = series(scraped)
        frame = frame[frame["time_s"].between(*span_s)]
        panel.set_title(title)
        if frame.empty:
            show_text(panel, f"no samples: {unit}".replace("\n", " "))
            continue
        peaks = frame.groupby("instance")["value"].max().sort_values(ascending=False)
        for instance in peaks.index[:LINES_MAX]:
            own = with_gaps(frame[frame["instance"] == instance])
            panel.plot(own["time_s"] - span_s[0], own["value"], label=instance, linewidth=1.2)
        panel.set_ylabel(unit)
        panel.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
        _frame(panel, archive, span_s, label="top" if panel is panels[0] else "")
    panels[-1].set_xlabel(SECONDS)
    return figure


@styled
def compare_breakers(archive: Run, scraped: Run) -> Figure:
    """Breaker states from the breakers' events (above) and from scrapes (below)."""
    shown = breakers_to_show(archive, LINES_MAX)
    figure, (events, states) = canvas(2, 1.2 + 0.3 * max(len(shown), 2), sharex=True)
    span_s = load_span(archive)
    if shown:
        draw_states(events, archive, shown)
        legend(figure, events)
    else:
        show_text(events, "no breaker event was recorded")
    events.set_title("Breaker states:  events (above) and scrapes (below)")
    events.set_xlabel("")
    frame = red.gauge(scraped, "breaker_state", "edge")
    for number, (edge, instance) in enumerate(shown):
        own = with_gaps(frame[(frame["edge"] == edge) & (frame["instance"] == instance)])
        states.step(
            own["time_s"] - span_s[0], own["value"] + 0.05 * number, where="post",
            label=f"{edge} of {instance}", linewidth=1.3,
        )  # fmt: skip
    if frame.empty or not shown:
        show_text(states, "no breaker state was scraped")
    else:
        states.set_yticks([0, 1, 2], ["closed", "half open", "open"])
        states.set_ylim(-0.2, 2.5)
        states.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
        _frame(states, archive, span_s, label="")
    states.set_xlabel(SECONDS)
    return figure


def with_gaps(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with an empty row in each gap, so that no line is drawn across missing samples."""
    frame = frame.sort_values("time_s")
    last_seen = frame["time_s"].shift()[frame["time_s"].diff() > GAP_S]
    holes = pd.DataFrame({"time_s": last_seen + STEP_S})
    return pd.concat([frame, holes]).sort_values("time_s")


def _cpu(run: Run) -> pd.DataFrame:
    grown = red.growth(run, "process_cpu_seconds_total")
    grown = grown[~(grown["time_s"] - grown["since_s"] > GAP_S)]
    grown["time_s"] = (grown["time_s"] // STEP_S + 0.5) * STEP_S
    each = grown.groupby(["instance", "time_s"])["growth"].sum().rename("value") / STEP_S
    return each.reset_index()


def _frame(panel: Axes, archive: Run, span_s: tuple[float, float], *, label: str) -> None:
    shade(panel, fault_bands(archive), span_s[0], label=label)
    panel.set_xlim(0, span_s[1] - span_s[0])
    if panel.get_yscale() != "log":
        panel.set_ylim(bottom=0)
