"""Plots of orders: placed, confirmed, cancelled, pending, and the time until they are final."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lab.analysis import orders
from lab.analysis.plots.style import (
    ORDER_COLOURS,
    SECONDS,
    canvas,
    legend,
    log_axis,
    mark_load_end,
    shade,
    show_text,
    styled,
)
from lab.analysis.windows import fault_bands, followed_span, load_span
from lab.archive import Run

CUSTOMER = "customer"  # `reason` of an order that its customer cancelled


@styled
def orders_over_time(run: Run) -> Figure:
    """Orders placed, confirmed and cancelled per second (above), and pending orders (below)."""
    figure, (rates, backlog) = canvas(2, 2.0, sharex=True)
    table = orders.over_time(run)
    if table.empty:
        show_text(rates, "no order was placed")
        show_text(backlog, "")
        return figure
    start, _ = load_span(run)
    at = table["time_s"] - start + 0.5
    shade(rates, fault_bands(run), start)
    rates.bar(
        at, table["confirmed"], width=0.92, color=ORDER_COLOURS["confirmed"], label="confirmed"
    )
    rates.bar(at, table["cancelled"], width=0.92, bottom=table["confirmed"], color=ORDER_COLOURS["cancelled"],
              label="cancelled")  # fmt: skip
    rates.plot(at, table["placed"], color=ORDER_COLOURS["placed"], linewidth=1.2, label="placed")
    totals = orders.totals(run)
    ended = totals["confirmed"] + totals["cancelled"]
    rates.set_title(
        f"Orders:  {totals['placed']:,} placed, {totals['confirmed']:,}"
        f" confirmed, {totals['cancelled']:,} cancelled"
        + (f", {totals['placed'] - ended:,} pending" if ended < totals["placed"] else "")
    )
    rates.set_ylabel("orders / s")
    legend(figure, rates)
    draw_pending(backlog, run)
    backlog.set_xlabel(SECONDS)
    return figure


def draw_pending(panel: Axes, run: Run) -> None:
    """Draw the number of pending orders until the end of the drain, on an axis of seconds since the load began."""
    table = orders.over_time(run)
    (start, load_end), (_, end) = load_span(run), followed_span(run)
    shade(panel, fault_bands(run), start, label="")
    pending = (table["placed"] - table["ended"]).cumsum()
    seconds = table["time_s"] - start + 0.5
    at = [*seconds, max(end - start, seconds.iloc[-1])]
    counts = [*pending, pending.iloc[-1]]
    panel.fill_between(
        at, counts, step="mid", color=ORDER_COLOURS["pending"], alpha=0.35, linewidth=0
    )
    panel.plot(at, counts, color=ORDER_COLOURS["pending"], drawstyle="steps-mid", linewidth=1.2)
    mark_load_end(panel, load_end - start)
    panel.set_title(f"Pending orders:  at most {int(pending.max()):,}{_afterwards(run, table)}")
    panel.set_ylabel("pending orders")
    panel.set_ylim(bottom=0)
    panel.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
    panel.set_xlim(0, end - start)


def _afterwards(run: Run, table: pd.DataFrame) -> str:
    """What became of the orders that were pending at the end of the load."""
    (_, load_end), (_, end) = load_span(run), followed_span(run)
    pending = (table["placed"] - table["ended"]).cumsum()
    at_end = pending[table["time_s"] < load_end]
    if at_end.empty or not at_end.iloc[-1]:
        return ""
    if left := int(pending.iloc[-1]):
        became = f"{left:,} still pending {end - load_end:.0f} s later"
    else:
        last_s = table["time_s"][table["ended"] > 0].iloc[-1] + 1.0 - load_end
        became = f"all settled {max(last_s, 0.0):.0f} s later"
    return f"; {int(at_end.iloc[-1]):,} when the load ended, {became}"


@styled
def settling_times(run: Run) -> Figure:
    """The time from placing an order until the shop confirms or cancels it.

    Orders that their customer cancelled are left out.
    """
    figure, (panel,) = canvas(1, 2.6)
    if "orders.orders" not in run.states:
        show_text(panel, "the orders database was not audited")
        return figure
    rows = run.state("orders.orders")
    made, ended = orders.epoch_s(rows, "created_at"), orders.epoch_s(rows, "updated_at")
    frame = rows.project(f"{made} AS at, {ended} - {made} AS took, status, reason").df()
    start, end = load_span(run)
    frame = frame[(frame["at"] >= start - 1) & (frame["status"] != "pending")]
    frame = frame[frame["reason"] != CUSTOMER]
    if frame.empty:
        show_text(panel, "no order was confirmed or cancelled")
        return figure
    shade(panel, fault_bands(run), start, label="bottom")
    for status in ("confirmed", "cancelled"):
        own = frame[frame["status"] == status]
        panel.scatter(own["at"] - start, own["took"].clip(lower=1e-3), s=9, color=ORDER_COLOURS[status],
                      alpha=0.7, linewidth=0, label=status)  # fmt: skip
    slowest = float(frame["took"].max())
    panel.set_title(
        f"Time until an order is final:  median {frame['took'].median():.2f} s,"
        f" slowest {slowest:.1f} s"
    )
    log_axis(panel)
    panel.set_ylabel("seconds until final")
    panel.set_xlabel("time of placing, " + SECONDS)
    panel.set_xlim(0, end - start)
    legend(figure, panel)
    return figure
