"""The invariant of repeated requests: the same key and body get the same answer."""

from __future__ import annotations

from lab.analysis.consistency.finding import Finding, count, rows
from lab.analysis.consistency.shoppers.shown import recorded
from lab.archive import Run


@recorded
def repeats_get_the_same_answer(run: Run) -> Finding:
    """A request that is repeated with its key gets the answer of the first one: status, id and facts.

    A pending order (202) may have ended since, with any definite answer about the same order. An
    answer that is not definite (5xx, 409 with Retry-After, 401, 429) says nothing.
    """
    run.execute(
        """
        CREATE OR REPLACE TEMP VIEW repeats AS
        SELECT f.request_id AS first_trace_id, r.request_id AS trace_id, r.session, r.idempotency_key,
               f.route, f.status AS first_status, r.status, r.error,
               (f.seen->>'$.order_id') AS order_id, r.order_id AS repeated_order_id,
               f.seen AS first_seen, r.seen AS repeated_seen
        FROM requests f JOIN requests r USING (idempotency_key)
        WHERE f.route IN ('POST /api/orders', 'POST /api/users')
          AND r.route IN (f.route, f.route || ' (repeated)') AND r.logical_id <> f.logical_id
          AND r.actual_start_s > f.end_s AND f.status IN (201, 202) AND r.outcome <> 'unknown'
          AND r.status BETWEEN 200 AND 499 AND r.status NOT IN (401, 429)
        """
    )
    facts = ("$.order_id", "$.id", "$.email", "$.total_cents", "$.lines")
    other = " OR ".join(
        f"(first_seen->>'{fact}') IS DISTINCT FROM (repeated_seen->>'{fact}')" for fact in facts
    )
    violations = rows(
        run.sql(
            f"""
            SELECT idempotency_key, first_trace_id, trace_id, session, order_id, repeated_order_id,
                   first_status, status, error, 'the repeated request got another answer' AS problem
            FROM repeats
            WHERE CASE WHEN first_status = 201 THEN status <> 201 OR ({other})
                       WHEN status < 400 THEN ({other})
                       ELSE repeated_order_id IS DISTINCT FROM order_id END
            ORDER BY trace_id
            """
        )
    )
    return Finding(count(run, "SELECT count(*) FROM repeats"), violations)
