"""Invariants of acknowledgements: what the shop has answered is what its databases hold."""

from __future__ import annotations

from dataclasses import replace

from lab.analysis.consistency.finding import Finding, count, find
from lab.archive import Run

_CANCELS = """
    CREATE OR REPLACE TEMP VIEW acknowledged_cancels AS
    SELECT order_id, max(status = 200) AS done, any_value(request_id) AS trace_id
    FROM requests WHERE route = 'POST /api/orders/{id}/cancel' AND status IN (200, 202)
    GROUP BY order_id
"""
_NOT_CANCELLED = """
    SELECT order_id, o.status, o.reason, c.trace_id,
           CASE WHEN o.order_id IS NULL THEN 'the cancelled order does not exist'
                WHEN c.done THEN 'answered as cancelled, but is not'
                ELSE 'the cancellation was accepted, but not done' END AS problem
    FROM acknowledged_cancels c LEFT JOIN orders_orders o USING (order_id)
    WHERE o.status IS DISTINCT FROM 'cancelled' AND 
"""
# An order's lines are merged by SKU: a shopper may send the same SKU twice.
_ASKED = """
    CREATE OR REPLACE TEMP VIEW asked_orders AS
    SELECT order_id, any_value(request_id) AS trace_id, any_value(json_extract_string(asked, 'card')) AS card,
           any_value(json_extract(asked, 'lines')) AS lines, any_value(session) AS session
    FROM requests
    WHERE route = 'POST /api/orders' AND order_id IS NOT NULL AND json_extract(asked, 'lines') IS NOT NULL
    GROUP BY order_id
"""
_NOT_ASKED = """
    SELECT count(DISTINCT order_id) FROM requests WHERE route = 'POST /api/orders'
    AND order_id IS NOT NULL AND order_id NOT IN (SELECT order_id FROM asked_orders)
"""
_OTHER_LINES = """
    WITH asked AS (
        SELECT order_id, json_extract_string(line, '$[0]') AS sku,
               sum(json_extract(line, '$[1]')::INT) AS quantity
        FROM (SELECT order_id, unnest(lines::JSON[]) AS line FROM asked_orders) GROUP BY ALL
    ), stored AS (SELECT * FROM orders_lines WHERE order_id IN (SELECT order_id FROM asked_orders))
    SELECT order_id, sku, asked.quantity::INT AS asked, stored.quantity AS stored,
           'other goods than the shopper asked for' AS problem
    FROM asked FULL JOIN stored USING (order_id, sku) JOIN orders_orders USING (order_id)
    WHERE asked.quantity IS DISTINCT FROM stored.quantity
"""
_OTHER_TERMS = """
    SELECT a.order_id, a.session, o.email, o.card_last4, a.trace_id,
           CASE WHEN o.card_last4 <> right(a.card, 4) THEN 'another card than the shopper''s'
                ELSE 'the order of another customer' END AS problem
    FROM asked_orders a JOIN orders_orders o USING (order_id)
    WHERE o.card_last4 <> right(a.card, 4) OR split_part(o.email, '@', 1) <> a.session
"""


def cancellations_are_done(run: Run) -> Finding:
    """19: an order whose cancellation was answered with 200 or 202 is cancelled."""
    run.execute(_CANCELS)
    return find(
        run,
        "SELECT count(*) FROM acknowledged_cancels",
        _NOT_CANCELLED + "c.done",
        at_quiescence=[_NOT_CANCELLED + "NOT c.done"],
    )


def orders_are_as_asked(run: Run) -> Finding:
    """20: an order has the lines, the card and the customer of the request that it answers."""
    run.execute(_ASKED)
    found = find(run, "SELECT count(*) FROM asked_orders", _OTHER_LINES, _OTHER_TERMS)
    unknown = count(run, _NOT_ASKED)
    return replace(found, lacks=f"{unknown} orders have no request's lines" if unknown else "")
