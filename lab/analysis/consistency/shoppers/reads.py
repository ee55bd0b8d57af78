"""Invariants of reads: what a customer is shown of orders is his, and was true at that time."""

from __future__ import annotations

from lab.analysis.consistency.finding import Finding, Rows, count, rows
from lab.analysis.consistency.shoppers.shown import (
    CLOCKS_S,
    OWNER,
    create_shown,
    create_states,
    recorded,
)
from lab.archive import Run

NEWEST = 25
OWN_PAGE = ("GET /api/orders/{id}", "POST /api/orders/{id}/cancel")


@recorded
def orders_are_shown_as_they_were(run: Run) -> Finding:
    """An order is shown to its customer only, with its own facts, in a state that it had meanwhile.

    A state counts as possible from its event on until the event of the next state was published
    or another answer had shown the next state.
    """
    create_shown(run)
    create_states(run)
    violations = _foreign(run) + _other_facts(run) + _other_state(run) + _back_in_time(run)
    violations += _vanished(run)
    return Finding(count(run, "SELECT count(*) FROM shown"), violations)


@recorded
def lists_are_complete(run: Run) -> Finding:
    """The list of a customer's orders has each order that was acknowledged before it was asked for.

    A full page ends with an older order; then only the orders that are newer must be on it. The
    newest orders before the request are compared, a few more than a page has.
    """
    run.execute(
        """
        CREATE OR REPLACE TEMP VIEW lists AS
        SELECT request_id AS trace_id, session, actual_start_s AS start_s, end_s,
               coalesce((seen->>'$.more')::BOOLEAN, false) AS more,
               list_transform(from_json(seen->'$.orders', '["JSON"]'), lambda x: x->>'$.order_id') AS ids
        FROM requests WHERE route = 'GET /api/orders' AND status = 200 AND seen IS NOT NULL
        """
    )
    violations = rows(
        run.sql(
            """
            WITH acknowledged AS (
                SELECT session, order_id, request_id AS placed_by, end_s,
                       row_number() OVER (PARTITION BY session ORDER BY end_s) AS n
                FROM requests
                WHERE route = 'POST /api/orders' AND status IN (201, 202) AND order_id IS NOT NULL
            ), newest AS (
                SELECT l.*, unnest(range(greatest(1, a.n - ?), a.n + 1)) AS n
                FROM lists l ASOF JOIN acknowledged a ON l.session = a.session AND l.start_s > a.end_s
            )
            SELECT l.trace_id, l.session, a.order_id, a.placed_by,
                   l.start_s - a.end_s AS acknowledged_before_s, 'is not in the list' AS problem
            FROM newest l JOIN acknowledged a USING (session, n)
            WHERE NOT list_contains(coalesce(l.ids, []), a.order_id)
              AND (NOT l.more OR a.order_id > list_min(l.ids))
              AND a.order_id IN (SELECT order_id FROM orders_orders)
            ORDER BY l.start_s, a.order_id
            """,
            [NEWEST],
        )
    )
    return Finding(count(run, "SELECT count(*) FROM lists"), violations)


def _foreign(run: Run) -> Rows:
    return rows(
        run.sql(
            f"""
            SELECT s.trace_id, s.session, s.route, s.order_id, o.email AS customer,
                   'shown to another customer' AS problem
            FROM shown s JOIN states o USING (order_id)
            WHERE o.email LIKE '%@%' AND s.session <> {OWNER} ORDER BY s.start_s
            """
        )
    )


def _other_facts(run: Run) -> Rows:
    """Another user, total or lines, a payment of another order or amount, mails of another order."""
    return rows(
        run.sql(
            """
            SELECT s.trace_id, s.session, s.route, s.order_id, s.total_cents, o.total_cents AS stored_cents,
                   s.paid, s.mails, 'shown with facts that it does not have' AS problem
            FROM shown s JOIN states o USING (order_id)
            WHERE s.user_id <> o.user_id OR s.total_cents <> o.total_cents
               OR list_sort(list_transform(from_json(s.lines, '["JSON"]'), lambda l:
                      concat(l->>'$[0]', ' ', l->>'$[1]', ' ', l->>'$[2]'))) <> o.lines
               OR (s.paid->>'$.order_id') <> s.order_id
               OR (s.paid->>'$.amount_cents')::BIGINT <> o.total_cents
               OR list_any_value(list_filter(
                      list_transform(from_json(s.mails, '["JSON"]'), lambda m: m->>'$[0]'),
                      lambda m: m <> s.order_id)) IS NOT NULL
            ORDER BY s.start_s
            """
        )
    )


def _other_state(run: Run) -> Rows:
    """A state that the order did not have between the request's start and end."""
    return rows(
        run.sql(
            f"""
            SELECT s.trace_id, s.session, s.route, s.order_id, s.state, o.status AS at_the_end,
                   'shown in a state that it did not have' AS problem
            FROM shown s JOIN states o USING (order_id)
            WHERE NOT s.replayed AND CASE s.state
                WHEN 'confirmed' THEN NOT o.was_confirmed OR s.end_s < o.confirmed_from_s - {CLOCKS_S}
                     OR s.start_s > o.cancelled_surely_s + {CLOCKS_S}
                WHEN 'cancelled' THEN o.status <> 'cancelled' OR s.end_s < o.cancelled_from_s - {CLOCKS_S}
                WHEN 'pending' THEN s.start_s > {CLOCKS_S} + least(
                     coalesce(o.confirmed_surely_s, 'inf'), coalesce(o.cancelled_surely_s, 'inf'))
                ELSE true END
            ORDER BY s.start_s
            """
        )
    )


def _back_in_time(run: Run) -> Rows:
    """A version older than one that an earlier answer had already shown."""
    return rows(
        run.sql(
            """
            SELECT trace_id, session, route, order_id, version, seen_before,
                   'shown in an older version than before' AS problem
            FROM (
                SELECT s.*, (SELECT max(e.version) FROM shown e
                             WHERE e.order_id = s.order_id AND NOT e.replayed AND e.end_s < s.start_s
                            ) AS seen_before
                FROM shown s WHERE NOT s.replayed
            ) WHERE version < seen_before ORDER BY start_s
            """
        )
    )


def _vanished(run: Run) -> Rows:
    """A customer's own order that was acknowledged to him and then does not exist."""
    return rows(
        run.sql(
            f"""
            SELECT r.request_id AS trace_id, r.session, r.route, r.order_id, p.request_id AS placed_by,
                   'acknowledged, then answered as unknown' AS problem
            FROM requests r JOIN requests p
              ON p.order_id = r.order_id AND p.session = r.session AND p.end_s < r.actual_start_s
             AND p.route = 'POST /api/orders' AND p.status IN (201, 202)
            WHERE r.route IN {OWN_PAGE} AND r.status = 404 ORDER BY r.actual_start_s
            """
        )
    )
