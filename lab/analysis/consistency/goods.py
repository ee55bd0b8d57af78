"""The invariant of goods: the lines of an order, their reservation, and where the goods are at the end."""

from __future__ import annotations

from lab.analysis.consistency.finding import Finding, create_recent, find
from lab.archive import Run

# A customer's cancellation returns shipped goods. A checkout that fails releases them, or has reserved none.
_LINES = """
    WITH ordered AS (FROM orders_lines WHERE order_id IN (FROM this_run)),
         reserved AS (FROM inventory_reservations WHERE order_id IN (FROM this_run))
    SELECT o.order_id, sku, o.status, l.quantity, r.quantity AS reserved, r.status AS goods,
           CASE WHEN l.quantity IS NULL THEN 'reserved, but not ordered'
                WHEN l.quantity <> r.quantity THEN 'another quantity'
                WHEN o.status = 'confirmed' THEN 'confirmed, but not shipped'
                ELSE 'cancelled, but not put back' END AS problem
    FROM ordered l FULL JOIN reserved r USING (order_id, sku)
    JOIN orders_orders o USING (order_id) JOIN orders_sagas s USING (order_id)
    WHERE l.quantity IS NULL OR l.quantity <> r.quantity
       OR (o.status = 'confirmed' AND r.status IS DISTINCT FROM 'committed')
       OR (o.status = 'cancelled' AND s.kind = 'cancellation' AND r.status IS DISTINCT FROM 'returned')
       OR (o.status = 'cancelled' AND r.status IN ('held', 'committed'))
"""
_NO_ORDER = """
    SELECT order_id, sku, quantity AS reserved, status AS goods, 'reserved for no order' AS problem
    FROM recent_reservations WHERE order_id NOT IN (SELECT order_id FROM orders_orders)
"""


def goods_follow_the_order(run: Run) -> Finding:
    """14: each line is reserved as ordered, shipped if the order is confirmed, put back if it is cancelled."""
    checked = "SELECT count(*) FROM orders_lines WHERE order_id IN (FROM this_run)"
    create_recent(run, "recent_reservations", "inventory.reservations", "updated_at")
    return find(run, checked, at_quiescence=[_LINES, _NO_ORDER])
