"""Invariants of money between orders, payments and the bank: holds, the ledger, payments."""

from __future__ import annotations

from lab.analysis.consistency.finding import Finding, find
from lab.archive import Run

_HOLDS = """
    CREATE OR REPLACE TEMP VIEW holds AS
    FROM bank_authorizations WHERE reference IN (FROM this_run)
"""
_SEVERAL = """
    SELECT reference AS order_id, count(*) AS holds, sum(amount_cents) AS held_cents,
           'several holds' AS problem
    FROM holds GROUP BY reference HAVING count(*) > 1
"""
_TERMS = """
    SELECT a.reference AS order_id, a.authorization_id, a.amount_cents, o.total_cents, a.currency,
           CASE WHEN o.order_id IS NULL THEN 'held for no order'
                WHEN a.amount_cents <> o.total_cents THEN 'another amount'
                WHEN a.currency <> o.currency THEN 'another currency'
                ELSE 'another card' END AS problem
    FROM holds a LEFT JOIN orders_orders o ON o.order_id = a.reference
    WHERE o.order_id IS NULL OR a.amount_cents <> o.total_cents
       OR a.currency <> o.currency OR a.card_last4 <> o.card_last4
"""
_ENDED = """
    SELECT o.order_id, o.status, a.authorization_id, a.status AS hold,
           CASE WHEN o.status = 'cancelled' THEN 'still held after the order was cancelled'
                WHEN a.reference IS NULL THEN 'confirmed without a hold'
                ELSE 'confirmed, but not captured' END AS problem
    FROM orders_orders o LEFT JOIN holds a ON a.reference = o.order_id
    WHERE o.order_id IN (FROM this_run)
      AND ((o.status = 'cancelled' AND a.status = 'authorized')
           OR (o.status = 'confirmed' AND (a.reference IS NULL OR a.captured_cents = 0)))
"""
_BOOKS = """
    WITH booked AS (
        SELECT authorization_id,
               count(*) FILTER (kind = 'authorize') AS holds,
               coalesce(sum(amount_cents) FILTER (kind = 'authorize'), 0) AS held,
               coalesce(sum(amount_cents) FILTER (kind = 'capture'), 0) AS captured,
               coalesce(sum(amount_cents) FILTER (kind = 'refund'), 0) AS refunded,
               count(*) FILTER (kind = 'void') AS voids
        FROM bank_ledger GROUP BY authorization_id
    )
    SELECT a.reference AS order_id, a.authorization_id, a.status, a.captured_cents,
           coalesce(captured, 0) AS captured_in_ledger, a.refunded_cents,
           coalesce(refunded, 0) AS refunded_in_ledger,
           CASE WHEN a.captured_cents <> coalesce(captured, 0) THEN 'captured another amount'
                WHEN a.refunded_cents <> coalesce(refunded, 0) THEN 'refunded another amount'
                WHEN (a.status = 'voided') <> (coalesce(voids, 0) > 0) THEN 'voided in one place only'
                ELSE 'held another amount' END AS problem
    FROM holds a LEFT JOIN booked USING (authorization_id)
    WHERE a.captured_cents <> coalesce(captured, 0)
       OR a.refunded_cents <> coalesce(refunded, 0)
       OR (a.status = 'voided') <> (coalesce(voids, 0) > 0)
       OR coalesce(holds, 0) > 1
       OR coalesce(held, 0) <> CASE a.status WHEN 'declined' THEN 0 ELSE a.amount_cents END
"""
_UNBOOKED = """
    SELECT reference AS order_id, authorization_id, kind, amount_cents,
           'an entry without an authorization' AS problem
    FROM bank_ledger WHERE reference IN (FROM this_run)
      AND authorization_id NOT IN (SELECT authorization_id FROM bank_authorizations)
"""
# Payments stores `voided` also if the bank had declined the card before.
_PAYMENTS = """
    SELECT p.order_id, p.status AS payment, a.status AS bank, p.amount_cents, a.amount_cents AS bank_cents,
           CASE WHEN a.reference IS NULL THEN 'unknown to the bank'
                WHEN a.reference <> p.order_id THEN 'the hold of another order'
                WHEN p.amount_cents <> a.amount_cents THEN 'another amount'
                WHEN p.currency <> a.currency THEN 'another currency'
                WHEN p.captured_cents <> a.captured_cents THEN 'captured another amount'
                WHEN p.refunded_cents <> a.refunded_cents THEN 'refunded another amount'
                ELSE 'another status' END AS problem
    FROM payments_payments p LEFT JOIN bank_authorizations a USING (authorization_id)
    WHERE p.order_id IN (FROM this_run) AND p.authorization_id IS NOT NULL
      AND (a.reference IS DISTINCT FROM p.order_id OR p.captured_cents <> a.captured_cents
           OR p.refunded_cents <> a.refunded_cents
           OR (p.amount_cents > 0 AND (p.amount_cents <> a.amount_cents OR p.currency <> a.currency))
           OR NOT (p.status = a.status OR (p.status = 'voided' AND a.status = 'declined')))
"""
# A payment that was voided before it was authorized has no user and the amount 0.
_ORDERED = """
    SELECT o.order_id, o.status, p.status AS payment, o.total_cents, p.amount_cents,
           CASE WHEN p.order_id IS NULL THEN 'confirmed without a payment'
                WHEN p.amount_cents <> o.total_cents THEN 'another amount than the order'
                WHEN p.currency <> o.currency THEN 'another currency than the order'
                ELSE 'the payment of another customer' END AS problem
    FROM orders_orders o LEFT JOIN payments_payments p USING (order_id)
    WHERE o.order_id IN (FROM this_run)
      AND ((o.status = 'confirmed' AND p.order_id IS NULL)
           OR (p.user_id IS NOT NULL AND (p.amount_cents <> o.total_cents
               OR p.currency <> o.currency OR p.user_id <> o.user_id)))
"""
# Payments records each call before it makes it. The bank knows the key of the call.
_CALLS = """
    SELECT l.reference AS order_id, l.kind, l.idempotency_key AS key, l.amount_cents,
           'an entry of the ledger without a call of payments' AS problem
    FROM bank_ledger l LEFT JOIN payments_operations c
      ON c.order_id = l.reference AND c.kind = l.kind AND c.key = l.idempotency_key
    WHERE l.reference IN (FROM this_run) AND c.key IS NULL
    UNION ALL
    SELECT c.order_id, c.kind, c.key, NULL, 'a call of payments is done, but not in the ledger'
    FROM payments_operations c LEFT JOIN bank_ledger l
      ON c.order_id = l.reference AND c.kind = l.kind AND c.key = l.idempotency_key
    WHERE c.order_id IN (FROM this_run) AND c.status = 'done' AND c.kind <> 'void'
      AND l.reference IS NULL
"""
_ORDERS = "SELECT count(*) FROM orders_orders WHERE order_id IN (FROM this_run)"


def held_once(run: Run) -> Finding:
    """11: one authorization an order, with its amount, currency and card; captured or released at the end."""
    run.execute(_HOLDS)
    return find(run, _ORDERS, _SEVERAL, _TERMS, at_quiescence=[_ENDED])


def ledger_adds_up(run: Run) -> Finding:
    """12: the sums of the ledger's entries are the amounts of the bank's authorizations."""
    run.execute(_HOLDS)
    return find(run, "SELECT count(*) FROM holds", _BOOKS, _UNBOOKED)


def payments_agree(run: Run) -> Finding:
    """13: each payment has its order's terms and its authorization's amounts; its calls are recorded."""
    checked = "SELECT count(*) FROM payments_payments WHERE order_id IN (FROM this_run)"
    return find(run, checked, at_quiescence=[_PAYMENTS, _ORDERED, _CALLS])
