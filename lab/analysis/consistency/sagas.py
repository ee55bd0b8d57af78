"""Invariants of sagas: acknowledged orders exist, compensations follow their steps, sagas end."""

from __future__ import annotations

from lab.analysis.consistency.finding import Finding, count, rows
from lab.archive import Run


def acknowledged_orders_exist(run: Run) -> Finding:
    """6: no acknowledged order is lost or undone; no order is confirmed after a definite rejection."""
    run.execute(
        """
        CREATE OR REPLACE TEMP VIEW answers AS
        SELECT order_id, bool_or(status IN (201, 202)) AS acknowledged,
               bool_or(status = 201) AS answered_confirmed,
               bool_or(status IN (402, 409, 422) AND outcome <> 'unknown') AS answered_rejected
        FROM requests WHERE route = 'POST /api/orders' AND order_id IS NOT NULL GROUP BY order_id
        """
    )
    violations = rows(
        run.sql(
            """
            SELECT a.order_id, o.status,
                   CASE WHEN o.order_id IS NULL THEN 'acknowledged, but does not exist'
                        WHEN a.answered_rejected THEN 'answered as rejected, but is confirmed'
                        ELSE 'answered as confirmed, but is not' END AS problem
            FROM answers a LEFT JOIN orders_orders o USING (order_id)
            WHERE (a.acknowledged AND o.order_id IS NULL)
               OR (a.answered_rejected AND o.status = 'confirmed')
               OR (a.answered_confirmed AND o.status = 'pending')
               OR (a.answered_confirmed AND o.status = 'cancelled' AND a.order_id NOT IN (
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
    checked = count(run, "SELECT count(*) FROM answers WHERE acknowledged OR answered_rejected")
    return Finding(checked, violations, detail=f"{unknown} orders ended with an unknown outcome")


def compensations_follow_their_steps(run: Run) -> Finding:
    """7: each compensation follows its step, once; a compensated saga has undone each step it did."""
    # A customer's cancellation is a separate saga that only goes forward: it has no compensations.
    compensated_sagas = run.state("orders.sagas").filter("state = 'compensated'")
    if "kind" in compensated_sagas.columns:
        compensated_sagas = compensated_sagas.filter("kind = 'checkout'")
    compensated_sagas.project("order_id").create_view("compensated_sagas", replace=True)
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
                        WHEN times = 1 THEN 'compensated before it was done'
                        ELSE 'done but not compensated' END AS problem
            FROM steps
            WHERE times > 1 OR (times = 1 AND (forward IS NULL OR back < forward))
               OR (times = 0 AND was_done AND order_id IN (FROM compensated_sagas))
            ORDER BY 1, 2
            """
        )
    )
    violations += rows(
        run.sql(
            "SELECT order_id, status, 'confirmed, but no step is in its log' AS problem"
            " FROM orders_orders WHERE status = 'confirmed' AND order_id IN (FROM this_run)"
            " AND order_id NOT IN (SELECT order_id FROM orders_saga_log WHERE phase = 'done')"
            " ORDER BY 1"
        )
    )
    checked = count(
        run,
        "SELECT count(*) FROM orders_saga_log"
        " WHERE phase = 'compensated' AND order_id IN (FROM this_run)",
    )
    return Finding(checked, violations)


def sagas_have_ended(run: Run) -> Finding:
    """8: each saga has ended by the end of the drain, and so has its order."""
    violations = rows(
        run.sql(
            """
            SELECT o.order_id, o.status, s.state AS saga, s.step, s.attempts,
                   CASE WHEN s.order_id IS NULL THEN 'pending without a saga'
                        WHEN s.state = 'running' THEN 'still running'
                        ELSE 'saga ended, but the order is pending' END AS problem
            FROM orders_orders o LEFT JOIN orders_sagas s USING (order_id)
            WHERE o.order_id IN (FROM this_run)
              AND (s.state = 'running' OR o.status = 'pending')
            ORDER BY 1
            """
        )
    )
    checked = count(run, "SELECT count(*) FROM orders_sagas WHERE order_id IN (FROM this_run)")
    return Finding(checked, violations)
