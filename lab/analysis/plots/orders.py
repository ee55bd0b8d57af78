"""Plots of orders: placed, confirmed, cancelled, pending, and the time until they are final."""

from __future__ import annotations

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
    shade,
    show_text,
    styled,
)
from lab.analysis.windows import fault_bands, load_span
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
    """Draw the number of pending orders, on an axis of seconds since the load began."""
    table = orders.over_time(run)
    start, end = load_span(run)
    shade(panel, fault_bands(run), start, label="")
    at = table["time_s"] - start + 0.5
    pending = (table["placed"] - table["ended"]).cumsum()
    panel.fill_between(
        at, pending, step="mid", color=ORDER_COLOURS["pending"], alpha=0.35, linewidth=0
    )
    panel.plot(at, pending, color=ORDER_COLOURS["pending"], drawstyle="steps-mid", linewidth=1.2)
    panel.set_title(f"Pending orders:  at most {int(pending.max()):,}")
    panel.set_ylabel("pending orders")
    panel.set_ylim(bottom=0)
    panel.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
    panel.set_xlim(0, end - start)


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
