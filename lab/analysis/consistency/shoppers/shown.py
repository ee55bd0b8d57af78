"""Tables of what shoppers were shown: the facts in the column `seen` of their requests (docs/archive.md)."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from lab.analysis.consistency.finding import Finding
from lab.analysis.orders import epoch_s
from lab.analysis.windows import fault_bands
from lab.archive import Run

CLOCKS_S = 0.25  # the clocks of the shoppers and of the databases may differ by this much
AFTER_FAULT_S = 5.0  # a refusal up to this long after a fault may be due to it

_FACTS = """
    (seen->>'$.order_id') AS order_id, (seen->>'$.user_id') AS user_id, (seen->>'$.status') AS state,
    (seen->>'$.version')::BIGINT AS version, (seen->>'$.total_cents')::BIGINT AS total_cents,
    (seen->>'$.currency') AS currency, (seen->'$.lines') AS lines, (seen->'$.paid') AS paid,
    (seen->'$.mails') AS mails, coalesce(seen->>'$.replayed', 'false') = 'true' AS replayed
"""
# An account of the lab is named after its session.
OWNER = "split_part(o.email, '@', 1)"


def create_shown(run: Run) -> None:
    """Create the table `shown`: one row for each order in an answer, also for those in lists.

    A repeated order (`replayed`) shows its first answer, not its state now.
    """
    run.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE shown AS
        WITH answers AS (
            SELECT request_id AS trace_id, session, route, actual_start_s AS start_s, end_s,
                   status AS answer, asked, seen::JSON AS seen
            FROM requests WHERE seen IS NOT NULL
        ), orders AS (
            FROM answers WHERE (seen->>'$.order_id') IS NOT NULL
            UNION ALL
            SELECT * REPLACE (unnest(from_json(seen->'$.orders', '["JSON"]')) AS seen)
            FROM answers WHERE (seen->'$.orders') IS NOT NULL
        )
        SELECT * EXCLUDE seen, {_FACTS} FROM orders
        """
    )


def recorded(find: Callable[[Run], Finding]) -> Callable[[Run], Finding]:
    """Make a check of what shoppers saw refuse an archive that does not have it."""

    @wraps(find)
    def checked(run: Run) -> Finding:
        lacks = unrecorded(run)
        return Finding(0, lacks=lacks) if lacks else find(run)

    return checked


def unrecorded(run: Run) -> str:
    """Why the archive cannot show what shoppers saw: answers or orders without their facts; "" if it can."""
    seen, asked = run.sql(
        """
        SELECT count(*) FILTER (status BETWEEN 200 AND 299 AND outcome = 'ok' AND seen IS NULL),
               count(*) FILTER (route LIKE 'POST /api/orders%' AND asked IS NULL
                                AND route <> 'POST /api/orders/{id}/cancel' AND status > 0)
        FROM requests
        """
    ).fetchall()[0]
    missing = [f"{seen} answers without what was seen"] * bool(seen)
    missing += [f"{asked} orders without what was asked"] * bool(asked)
    return f"the requests have {' and '.join(missing)}" if missing else ""


def create_states(run: Run) -> None:
    """Create the table `states`: when each order was confirmed and cancelled (null: not known).

    `*_from_s`: not before. `*_surely_s`: surely by then, because the event of the change was published.
    The sources are the events and the last state of the order.
    """
    orders, outbox = run.state("orders.orders"), run.state("orders.outbox")
    changed = epoch_s(orders, "updated_at")
    events = (
        f"SELECT aggregate_id AS order_id, type, {epoch_s(outbox, 'created_at')} AS at_s,"
        f" {epoch_s(outbox, 'published_at')} AS out_s FROM orders_outbox"
    )
    run.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE states AS
        WITH events AS ({events}), ends AS (
            SELECT order_id,
                   min(at_s) FILTER (type = 'OrderConfirmed') AS confirmed_s,
                   min(out_s) FILTER (type = 'OrderConfirmed') AS confirmed_out_s,
                   min(at_s) FILTER (type = 'OrderCancelled') AS cancelled_s,
                   min(out_s) FILTER (type = 'OrderCancelled') AS cancelled_out_s
            FROM events GROUP BY order_id
        )
        SELECT o.order_id, o.user_id, o.email, o.status, o.version, o.total_cents,
               coalesce(confirmed_s, CASE WHEN o.status = 'confirmed' THEN {changed} END) AS confirmed_from_s,
               coalesce(cancelled_s, CASE WHEN o.status = 'cancelled' THEN {changed} END) AS cancelled_from_s,
               confirmed_out_s AS confirmed_surely_s, cancelled_out_s AS cancelled_surely_s,
               o.status = 'confirmed' OR confirmed_s IS NOT NULL OR o.version > 2 AS was_confirmed,
               l.lines
        FROM orders_orders o LEFT JOIN ends USING (order_id) LEFT JOIN (
            SELECT order_id, list_sort(list(concat(sku, ' ', quantity, ' ', price_cents))) AS lines
            FROM orders_lines GROUP BY order_id
        ) l USING (order_id)
        """
    )


def create_disturbed(run: Run) -> None:
    """Create the table `disturbed` of spans of time in which a fault may explain an answer."""
    run.execute("CREATE OR REPLACE TEMP TABLE disturbed(start_s DOUBLE, until_s DOUBLE)")
    for band in fault_bands(run):
        if not band.name.startswith("noop "):
            run.execute(
                f"INSERT INTO disturbed VALUES ({band.start_s}, {band.end_s + AFTER_FAULT_S})"
            )


def undisturbed(request: str) -> str:
    """An SQL condition: no fault can explain the answer of this row of `requests`."""
    return (
        f"NOT EXISTS (FROM disturbed WHERE disturbed.start_s <= {request}.end_s"
        f" AND disturbed.until_s >= {request}.actual_start_s)"
    )
