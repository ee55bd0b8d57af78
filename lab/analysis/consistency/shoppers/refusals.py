"""Invariants of refusals: what must be refused is refused, and what is refused is refused rightly."""

from __future__ import annotations

from lab.analysis.consistency.finding import Finding, Rows, count, rows
from lab.analysis.consistency.shoppers.shown import create_disturbed, recorded, undisturbed
from lab.archive import Run

# The bank's test cards that it declines (docs/architecture.md).
DECLINED = ("4000000000000002", "4000000000009995")
# The status of each refusal for a reason of the business, by the type of the problem.
STATUS_OF = {
    "unknown-sku": 422, "key-reused": 422, "order-not-found": 404, "bad-credentials": 401,
    "payment-declined": 402, "out-of-stock": 409, "email-taken": 409,
}  # fmt: skip
# A well-formed request is never answered with one of these (401: a fault may skew a clock).
NEVER = (400, 401, 403, 404, 405, 409, 413, 415, 422)
# What the lab itself sent at the audit: forged tokens, and a direct call for another customer's mails.
_FORGED = """
    SELECT name, route, expected, status, shown,
           CASE WHEN shown > 0 THEN 'shown to another customer' ELSE 'accepted' END AS problem
    FROM lab_refusals WHERE shown > 0 OR (expected = 401 AND status BETWEEN 200 AND 399)
"""
ALWAYS_FAILED_P = 1e-3  # the chance that only requests of one kind failed


@recorded
def the_forbidden_is_refused(run: Run) -> Finding:
    """A request that must be refused (`expected`) gets this refusal.

    An answer that a fault or overload explains (5xx, 429, none; 401 in place of another refusal) is not judged,
    unless this kind of request always fails while the others do not. 202 (pending) is no acceptance: the
    refusal can come later. So the order must not be confirmed in the end.
    """
    create_disturbed(run)
    violations = rows(
        run.sql(
            f"""
            SELECT request_id AS trace_id, session, route, expected, status, error, order_id, idempotency_key,
                   CASE WHEN status < 400 THEN 'accepted' ELSE 'refused for another reason' END AS problem
            FROM requests
            WHERE expected IS NOT NULL AND status <> expected AND status BETWEEN 200 AND 499
              AND status NOT IN (401, 429) AND outcome <> 'unknown' AND NOT ({_pending(run)})
            ORDER BY seq
            """
        )
    )
    violations += _always_failed(run)
    checked = count(run, "SELECT count(*) FROM requests WHERE expected IS NOT NULL AND status > 0")
    if "lab.refusals" in run.states:
        violations += rows(run.sql(_FORGED))
        checked += count(run, "SELECT count(*) FROM lab_refusals WHERE status > 0")
    return Finding(checked, violations)


@recorded
def refusals_are_true(run: Run) -> Finding:
    """A 402 is true of the card, a 409 of the stock; no other well-formed request is refused."""
    create_disturbed(run)
    run.execute(
        """
        CREATE OR REPLACE TEMP VIEW placed AS
        SELECT *, (asked->>'$.card') AS card FROM requests
        WHERE method = 'POST' AND route LIKE 'POST /api/orders%' AND (asked->>'$.card') IS NOT NULL
        """
    )
    violations = _cards(run) + _stock(run) + _others(run)
    refused = count(run, "SELECT count(*) FROM requests WHERE status BETWEEN 400 AND 499")
    return Finding(
        count(run, "SELECT count(*) FROM placed WHERE status BETWEEN 200 AND 499"),
        violations,
        detail=f"{refused} answers were refusals",
    )


def _pending(run: Run) -> str:
    """SQL: the order was accepted as pending, and not confirmed."""
    if "orders.orders" not in run.states:
        return "status = 202"
    confirmed = "SELECT order_id FROM orders_orders WHERE status = 'confirmed'"
    return f"status = 202 AND order_id IS NOT NULL AND order_id NOT IN ({confirmed})"


def _always_failed(run: Run) -> Rows:
    """Kinds of requests that must be refused, and always fail outside of faults while others do not.

    Let f be the error ratio of the other requests (rule of succession). All of k fail by chance with f^k.
    """
    others = "expected IS NULL AND status > 0"
    failed, n = run.sql(
        f"SELECT count(*) FILTER (status >= 500), count(*) FROM requests r"
        f" WHERE {others} AND method = 'POST' AND {undisturbed('r')}"
    ).fetchall()[0]
    return rows(
        run.sql(
            f"""
            SELECT route, any_value(expected) AS expected, min(status) AS status, count(*) AS requests,
                   any_value(request_id) AS trace_id, 'fails always, in place of the refusal' AS problem
            FROM requests r WHERE expected IS NOT NULL AND status > 0 AND {undisturbed("r")}
            GROUP BY route
            HAVING count(*) FILTER (status < 500) = 0 AND pow(?, count(*)) < {ALWAYS_FAILED_P}
            ORDER BY route
            """,
            [(failed + 1) / (n + 2)],
        )
    )


def _cards(run: Run) -> Rows:
    confirmed = "status = 201"
    if "orders.orders" in run.states:
        confirmed += (
            " OR order_id IN (SELECT order_id FROM orders_orders WHERE status = 'confirmed')"
        )
    return rows(
        run.sql(
            f"""
            SELECT request_id AS trace_id, session, order_id, status, right(card, 4) AS card_last4,
                   CASE WHEN status = 402 THEN 'declined, but the card is good'
                        ELSE 'confirmed, but the bank declines the card' END AS problem
            FROM placed WHERE expected IS NULL
              AND CASE WHEN card IN {DECLINED} THEN status <> 402 AND ({confirmed}) ELSE status = 402 END
            ORDER BY seq
            """
        )
    )


def _stock(run: Run) -> Rows:
    """Refused as out of stock although each line was in stock during the whole run.

    On hand was never less than it is at the end, minus what came back during the run: the released,
    expired and returned reservations.
    """
    if "inventory.stock" not in run.states or "inventory.reservations" not in run.states:
        return []
    return rows(
        run.sql(
            """
            WITH back AS (
                SELECT sku, sum(quantity) AS units FROM inventory_reservations
                WHERE status NOT IN ('held', 'committed') GROUP BY sku
            ), least_on_hand AS (
                SELECT sku, on_hand - coalesce(units, 0) AS units
                FROM inventory_stock LEFT JOIN back USING (sku)
            ), lines AS (
                SELECT seq, request_id, session, order_id, (line->>'$[0]') AS sku,
                       sum((line->>'$[1]')::BIGINT) AS quantity
                FROM (SELECT *, unnest(from_json(asked->'$.lines', '["JSON"]')) AS line FROM placed
                      WHERE status = 409 AND error = 'out-of-stock')
                GROUP BY ALL
            )
            SELECT request_id AS trace_id, session, order_id, min(l.units) AS at_least_on_hand,
                   'out of stock, but each product was in stock' AS problem
            FROM lines JOIN least_on_hand l USING (sku)
            GROUP BY seq, request_id, session, order_id HAVING bool_and(quantity <= l.units)
            ORDER BY seq
            """
        )
    )


def _others(run: Run) -> Rows:
    """Refusals of well-formed requests, and refusals with the status of another reason."""
    wrong_status = " OR ".join(
        f"(error = '{kind}' AND status <> {status})" for kind, status in STATUS_OF.items()
    )
    return rows(
        run.sql(
            f"""
            SELECT request_id AS trace_id, session, route, status, error, order_id,
                   CASE WHEN {wrong_status} THEN 'refused with the status of another reason'
                        ELSE 'a proper request is refused' END AS problem
            FROM requests r
            WHERE {undisturbed("r")} AND outcome <> 'unknown' AND ({wrong_status}
               OR (expected IS NULL AND status IN {NEVER} AND error IS DISTINCT FROM 'out-of-stock'
                   AND NOT (error = 'order-not-found' AND order_id IS NOT NULL)
                   AND NOT (route = 'POST /api/users' AND status = 409)))
            ORDER BY seq
            """
        )
    )
