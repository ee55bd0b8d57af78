"""The run in one picture: what shoppers waited, what the breakers did, which orders were left open."""

from __future__ import annotations

from matplotlib.figure import Figure

from lab.analysis import orders
from lab.analysis.plots.breakers import draw_states, worth_showing
from lab.analysis.plots.orders import draw_pending
from lab.analysis.plots.shoppers import draw_route, main_routes
from lab.analysis.plots.style import SECONDS, canvas, say, styled
from lab.archive import Run

BREAKERS_MAX = 2


@styled
def overview(run: Run) -> Figure:
    """What happened? Three answers above each other, on one axis of time."""
    routes, breakers = main_routes(run, 1), worth_showing(run, BREAKERS_MAX)
    rows = max(len(breakers), 1)
    figure, (waiting, states, open_orders) = canvas(
        3, 1.7 + 0.12 * rows, sharex=True, height_ratios=[2.2, 0.35 + 0.4 * rows, 1.4]
    )
    if not routes:
        say(waiting, "no request was recorded")
        return figure
    draw_route(waiting, run, routes[0], label="bottom")
    waiting.set_ylabel("response time, ms")
    if breakers:
        draw_states(states, run, breakers)
    else:
        say(states, "no breaker said anything")
    if orders.over_time(run).empty:
        say(open_orders, "no order was placed")
    else:
        draw_pending(open_orders, run)
    open_orders.set_xlabel(SECONDS)
    return figure
