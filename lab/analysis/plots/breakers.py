"""Plots of circuit breakers: states over time, windows, predicted and measured times."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lab.analysis.breakers import transitions
from lab.analysis.plots.style import (
    BLUE,
    GREEN,
    INK,
    MUTED,
    RED,
    SECONDS,
    STATES,
    canvas,
    legend,
    shade,
    show_text,
    styled,
)
from lab.analysis.windows import fault_bands, load_span
from lab.archive import Run

QUIET_ROWS = 3
TICK_ALPHA = 0.6


@styled
def breaker_timeline(run: Run, rows_max: int = 10) -> Figure:
    """The states of the breakers as bands, rejected calls as ticks.

    Shows the breakers that changed their state. If none did, it shows a few others.
    """
    shown = breakers_to_show(run, rows_max)
    figure, (panel,) = canvas(1, 1.45 + 0.45 * max(len(shown), 1))
    if not shown:
        show_text(panel, "no breaker event was recorded")
        return figure
    draw_states(panel, run, shown)
    panel.set_xlabel(SECONDS)
    legend(figure, panel)
    return figure


def breakers_to_show(run: Run, rows_max: int) -> list[tuple[str, str]]:
    """(edge, instance) of the breakers that changed their state; if none did, of a few others."""
    bands = transitions.state_bands(run)
    states = bands.groupby(["edge", "instance"]).size().sort_values(ascending=False, kind="stable")
    return list(states[states > 1].index[:rows_max]) or list(states.index[:QUIET_ROWS])


def draw_states(panel: Axes, run: Run, shown: Sequence[tuple[str, str]]) -> None:
    """Draw one row for each breaker, on an axis of seconds since the load began."""
    bands = transitions.state_bands(run)
    start, end = load_span(run)
    rejected = run.sql(
        "SELECT edge, instance, time_s FROM breakers WHERE policy = 'breaker' AND kind = 'rejection'"
    ).df()
    for row, (edge, instance) in enumerate(shown):
        mine = bands[(bands["edge"] == edge) & (bands["instance"] == instance)]
        panel.barh(np.full(len(mine), row), mine["end_s"] - mine["start_s"], height=0.5,
                   left=mine["start_s"] - start,
                   color=[STATES.get(str(state), MUTED) for state in mine["state"]])  # fmt: skip
        own = rejected[(rejected["edge"] == edge) & (rejected["instance"] == instance)]
        # One path with gaps for all ticks: as markers, each would be an element of its own in the SVG.
        panel.plot(np.repeat(own["time_s"] - start, 3), np.tile([row + 0.3, row + 0.46, np.nan], len(own)),
                   color=INK, linewidth=0.8, alpha=TICK_ALPHA)  # fmt: skip
    shade(panel, fault_bands(run), start, label="")
    panel.set_yticks(
        range(len(shown)),
        [f"{edge.replace('->', ' → ')}\n({instance})" for edge, instance in shown],
    )
    panel.set_ylim(len(shown) - 0.4, -0.75)
    panel.grid(axis="y", visible=False)
    panel.set_xlim(0, end - start)
    panel.set_title(_breaker_title(run))
    for state, colour in STATES.items():
        panel.barh(-9, 0, color=colour, label=state.replace("_", " "))
    panel.plot([], [], "|", color=INK, label="rejected call")


@styled
def breaker_window(run: Run, edge: str) -> Figure:
    """The share of failed calls in the breaker's window, with the threshold at which it opens."""
    figure, (panel,) = canvas(1, 2.6)
    seen = run.sql(
        "SELECT time_s, instance, failures / n AS share, slow / n AS slow_share FROM breakers"
        " WHERE edge = ? AND policy = 'breaker' AND kind = 'evaluation' AND n > 0 ORDER BY time_s",
        [edge],
    ).df()
    if seen.empty:
        show_text(panel, f"the breaker of {edge} evaluated no call")
        return figure
    start, end = load_span(run)
    settings, source = transitions.settings_of(run, edge)
    shade(panel, fault_bands(run), start, label="bottom")
    for instance, own in seen.groupby("instance"):
        panel.step(own["time_s"] - start, 100 * own["share"], where="post", color=BLUE,
                   alpha=0.9, label=f"{instance}: failed calls in the window")  # fmt: skip
    panel.axhline(100 * settings.failure_rate_threshold, color=RED, linestyle="--", linewidth=1.2,
                  label=f"opens at {100 * settings.failure_rate_threshold:.0f}% ({source})")  # fmt: skip
    panel.set_title(f"Failed calls in the breaker's window, {edge.replace('->', ' → ')}")
    panel.set_ylabel("failed calls, %")
    panel.set_xlabel(SECONDS)
    panel.set_xlim(0, end - start)
    panel.set_ylim(-3, 112)
    legend(figure, panel)
    return figure


@styled
def predicted_and_measured(run: Run, edge: str) -> Figure:
    """Predicted and measured times of a breaker. One row for each quantity."""
    table = transitions.predicted_and_measured(run, edge)
    figure, (panel,) = canvas(1, 1.4 + 0.5 * max(len(table), 1))
    if table.empty:
        show_text(panel, f"the breaker of {edge} did not open during a fault")
        return figure
    for row, each in enumerate(table.to_dict("records")):
        predicted, measured = float(each["predicted"]), float(each["measured"])
        panel.plot([predicted, measured], [row, row], color=MUTED, linewidth=1.2, zorder=1)
        panel.plot([each["low"], each["high"]], [row, row], color=BLUE, linewidth=7, alpha=0.15)
        panel.scatter(predicted, row, s=70, facecolor="none", edgecolor=BLUE, linewidth=1.8)
        panel.scatter(measured, row, s=60, color=GREEN)
        unit = f" {each['unit']}" if each["unit"] else ""
        panel.annotate(
            f"predicted {predicted:.2f}{unit}, measured {measured:.2f}{unit}",
            (float(np.nanmax([predicted, measured, each["high"]])), row), xytext=(10, 0),
            textcoords="offset points", va="center", fontsize=9,
        )  # fmt: skip
    panel.scatter([], [], s=70, facecolor="none", edgecolor=BLUE, linewidth=1.8, label="predicted")
    panel.plot([], [], color=BLUE, linewidth=7, alpha=0.15, label="95% of runs")
    panel.scatter([], [], s=60, color=GREEN, label="measured")
    panel.set_yticks(range(len(table)), list(table["quantity"]))
    panel.set_ylim(len(table) - 0.5, -0.6)
    top = float(np.nanmax(table[["predicted", "high", "measured"]].to_numpy(dtype=float)))
    panel.set_xlim(0, top * 1.75)
    panel.set_xlabel("seconds (a share has no unit)")
    panel.set_title(f"Predicted and measured, {edge.replace('->', ' → ')}")
    legend(figure, panel)
    return figure


def _breaker_title(run: Run) -> str:
    table = transitions.measures(run)
    opened = table[table["opened"] > 0]
    if opened.empty:
        return "Circuit breakers:  none opened"
    rejected, times = int(table["rejections"].sum()), int(opened["opened"].sum())
    often = "once" if times == 1 else f"{times} times" + (" in all" if len(opened) > 1 else "")
    return f"Circuit breakers:  {len(opened)} opened, {often}; {rejected:,} calls rejected"
