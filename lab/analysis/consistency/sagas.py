"""Invariants of promises kept: acknowledged orders, compensations, sagas that end."""

from __future__ import annotations

from lab.analysis.consistency.finding import Finding, count, rows
from lab.archive import Run


def acknowledged_orders_exist(run: Run) -> Finding:
    """6: no acknowledged order is lost or undone, none confirmed after a definite rejection."""
    run.execute(
        """
        CREATE OR REPLACE TEMP VIEW answers AS
        SELECT order_id, bool_or(status IN (201, 202)) AS acknowledged,
               bool_or(status = 201) AS told_confirmed,
               bool_or(status IN (402, 409, 422) AND outcome <> 'unknown') AS told_rejected
        FROM requests WHERE route = 'POST /api/orders' AND order_id IS NOT NULL GROUP BY order_id
        """
    )
    violations = rows(
        run.sql(
            """
            SELECT a.order_id, o.status,
                   CASE WHEN o.order_id IS NULL THEN 'acknowledged, then lost'
                        WHEN a.told_rejected THEN 'rejected, yet confirmed'
                        ELSE 'told confirmed, is not' END AS problem
            FROM answers a LEFT JOIN orders_orders o USING (order_id)
            WHERE (a.acknowledged AND o.order_id IS NULL)
               OR (a.told_rejected AND o.status = 'confirmed')
               OR (a.told_confirmed AND o.status = 'pending')
               OR (a.told_confirmed AND o.status = 'cancelled' AND a.order_id NOT IN (
                       SELECT order_id FROM requests WHERE order_id IS NOT NULL
                       AND route = 'POST /api/orders/{id}/cancel'))
            ORDER BY 1
            """
        )
    )
    unknown = count(
        run,
        "SELECT count(DISTINCT coalesce(logical_id, 'seq ' || seq)) FROM requests"
        " WHERE route = 'POST /api/orders' AND outcome = 'unknown'",
    )
    checked = count(run, "SELECT count(*) FROM answers WHERE acknowledged OR told_rejected")
    return Finding(checked, violations, detail=f"{unknown} orders had an answer of unknown outcome")


def compensations_follow_their_steps(run: Run) -> Finding:
    """7: each compensation follows its forward step, once; a saga turned back undid what it did."""
    # A customer's cancellation is a saga of its own, forward all the way: it undoes nothing of its own.
    turned_back = run.state("orders.sagas").filter("state = 'compensated'")
    if "kind" in turned_back.columns:
        turned_back = turned_back.filter("kind = 'checkout'")
    turned_back.project("order_id").create_view("turned_back", replace=True)
    violations = rows(
        run.sql(
            """
            WITH steps AS (
                SELECT order_id, step, min(seq) FILTER (phase IN ('started', 'done')) AS forward,
                       min(seq) FILTER (phase = 'compensated') AS back,
                       count(*) FILTER (phase = 'compensated') AS times,
                       bool_or(phase = 'done') AS was_done
                FROM orders_saga_log WHERE order_id IN (FROM this_run) GROUP BY ALL
            )
            SELECT order_id, step,
                   CASE WHEN times > 1 THEN 'compensated ' || times || ' times'
                        WHEN times = 1 THEN 'compensated before it was made'
                        ELSE 'done and never compensated' END AS problem
            FROM steps
            WHERE times > 1 OR (times = 1 AND (forward IS NULL OR back < forward))
               OR (times = 0 AND was_done AND order_id IN (FROM turned_back))
            ORDER BY 1, 2
            """
        )
    )
    checked = count(
        run,
        "SELECT count(*) FROM orders_saga_log"
        " WHERE phase = 'compensated' AND order_id IN (FROM this_run)",
    )
    return Finding(checked, violations)


def sagas_have_ended(run: Run) -> Finding:
    """8: every saga is terminal by the drain's end, and its order with it."""
    violations = rows(
        run.sql(
            """
            SELECT o.order_id, o.status, s.state AS saga, s.step, s.attempts,
                   CASE WHEN s.order_id IS NULL THEN 'pending without a saga'
                        WHEN s.state = 'running' THEN 'still running'
                        ELSE 'saga ended, order pending' END AS problem
            FROM orders_orders o LEFT JOIN orders_sagas s USING (order_id)
            WHERE o.order_id IN (FROM this_run)
              AND (s.state = 'running' OR o.status = 'pending')
            ORDER BY 1
            """
        )
    )
    checked = count(run, "SELECT count(*) FROM orders_sagas WHERE order_id IN (FROM this_run)")
    return Finding(checked, violations)
