"""Invariants of money, checked on the bank's ledger."""

from __future__ import annotations

from lab.analysis.consistency.finding import Finding, count, rows
from lab.archive import Run

CAPTURED_TWICE = """
    SELECT reference AS order_id, count(*) AS captures, sum(abs(amount_cents)) AS captured_cents
    FROM bank_ledger WHERE kind = 'capture' AND reference IN (FROM this_run)
    GROUP BY reference HAVING count(*) > 1 ORDER BY 1
"""

_TWICE = """
    CREATE OR REPLACE TEMP VIEW captured_twice AS
    SELECT reference FROM bank_ledger WHERE kind = 'capture' GROUP BY 1 HAVING count(*) > 1
"""
_NET = """
    CREATE OR REPLACE TEMP VIEW net AS
    SELECT reference, sum(CASE kind WHEN 'capture' THEN abs(amount_cents)
                                    WHEN 'refund' THEN -abs(amount_cents) ELSE 0 END) AS cents
    FROM bank_ledger WHERE reference IN (FROM this_run)
    AND reference NOT IN (FROM captured_twice)
    GROUP BY reference
"""


def captures_once(run: Run) -> Finding:
    """1: the bank captured the money of each order at most once."""
    return Finding(
        count(
            run,
            "SELECT count(DISTINCT reference) FROM bank_ledger"
            " WHERE kind = 'capture' AND reference IN (FROM this_run)",
        ),
        rows(run.sql(CAPTURED_TWICE)),
    )


def money_matches(run: Run) -> Finding:
    """2: confirmed <=> captured - refunded = total; cancelled => captured - refunded = 0.

    Orders captured twice are left out: invariant 1 reports them. Money kept for an order that does
    not exist is a violation. If a shopper had received that order's id, invariant 6 reports it.
    """
    run.execute(_TWICE)
    run.execute(_NET)
    mismatched = run.sql(
        """
        SELECT o.order_id, o.status, o.total_cents, coalesce(net.cents, 0) AS kept_cents
        FROM orders_orders o LEFT JOIN net ON net.reference = o.order_id
        WHERE o.order_id IN (FROM this_run) AND o.order_id NOT IN (FROM captured_twice)
          AND ((o.status = 'confirmed' AND coalesce(net.cents, 0) <> o.total_cents)
               OR (o.status = 'cancelled' AND coalesce(net.cents, 0) <> 0))
        ORDER BY 1
        """
    )
    orphans = run.sql(
        """
        SELECT reference AS order_id, 'no such order' AS status, cents AS kept_cents FROM net
        WHERE cents <> 0 AND reference NOT IN (SELECT order_id FROM orders_orders)
          AND reference NOT IN (SELECT order_id FROM requests
                                WHERE order_id IS NOT NULL AND status IN (201, 202))
        ORDER BY 1
        """
    )
    undecided = run.sql(
        """
        SELECT o.order_id, o.status, o.total_cents, net.cents AS kept_cents
        FROM orders_orders o JOIN net ON net.reference = o.order_id
        WHERE o.status = 'pending' AND net.cents <> 0 ORDER BY 1
        """
    )
    checked = count(
        run,
        "SELECT count(*) FROM orders_orders"
        " WHERE status <> 'pending' AND order_id IN (FROM this_run)",
    )
    return Finding(checked, rows(mismatched) + rows(orphans), rows(undecided))
