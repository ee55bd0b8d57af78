"""The run in one plot: response times, breaker states, pending orders."""

from __future__ import annotations

from matplotlib.figure import Figure

from lab.analysis import orders
from lab.analysis.plots.breakers import breakers_to_show, draw_states
from lab.analysis.plots.orders import draw_pending
from lab.analysis.plots.shoppers import draw_route, main_routes
from lab.analysis.plots.style import SECONDS, canvas, show_text, styled
from lab.archive import Run

BREAKERS_MAX = 2


@styled
def overview(run: Run) -> Figure:
    """Response times, breaker states and pending orders on one time axis."""
    routes, breakers = main_routes(run, 1), breakers_to_show(run, BREAKERS_MAX)
    rows = max(len(breakers), 1)
    figure, (waiting, states, open_orders) = canvas(
        3, 1.7 + 0.12 * rows, sharex=True, height_ratios=[2.2, 0.35 + 0.4 * rows, 1.4]
    )
    if not routes:
        show_text(waiting, "no request was recorded")
        return figure
    draw_route(waiting, run, routes[0], label="bottom")
    waiting.set_ylabel("response time, ms")
    if breakers:
        draw_states(states, run, breakers)
    else:
        show_text(states, "no breaker event was recorded")
    if orders.over_time(run).empty:
        show_text(open_orders, "no order was placed")
    else:
        draw_pending(open_orders, run)
    open_orders.set_xlabel(SECONDS)
    return figure
