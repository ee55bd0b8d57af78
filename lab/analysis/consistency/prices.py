"""The invariant of prices: an order costs what the catalogue says."""

from __future__ import annotations

from lab.analysis.consistency.finding import Finding, find
from lab.archive import Run

_TOTALS = """
    SELECT o.order_id, o.total_cents, sum(l.quantity * l.price_cents)::BIGINT AS lines_cents,
           'the total is not the sum of the lines' AS problem
    FROM orders_orders o LEFT JOIN orders_lines l USING (order_id)
    WHERE o.order_id IN (FROM this_run) GROUP BY o.order_id, o.total_cents
    HAVING o.total_cents IS DISTINCT FROM sum(l.quantity * l.price_cents)
"""
# The catalogue keeps no earlier prices. Version 1 is the only price that a product ever had.
_PRICES = """
    SELECT l.order_id, l.sku, l.price_cents, p.price_cents AS catalogue_cents,
           CASE WHEN p.id IS NULL THEN 'not in the catalogue'
                WHEN o.currency <> p.currency THEN 'another currency than the catalogue'
                ELSE 'another price than the catalogue' END AS problem
    FROM orders_lines l JOIN orders_orders o USING (order_id)
    LEFT JOIN products_products p ON p.id = l.sku
    WHERE l.order_id IN (FROM this_run)
      AND (p.id IS NULL OR o.currency <> p.currency
           OR (p.version = 1 AND l.price_cents <> p.price_cents))
"""


def totals_add_up(run: Run) -> Finding:
    """10: an order's total is the sum of its lines, and each line has the catalogue's price."""
    checked = "SELECT count(*) FROM orders_orders WHERE order_id IN (FROM this_run)"
    return find(run, checked, _TOTALS, _PRICES)
