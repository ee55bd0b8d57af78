"""The invariant of mails: the right content to the right customer."""

from __future__ import annotations

from lab.analysis.consistency.finding import Finding, find
from lab.archive import Run

# order_id is null in a welcome mail. A customer's cancellation follows a confirmation.
_CONTENT = """
    SELECT m.order_id, m.event_id, m.kind, m.recipient, u.email,
           CASE WHEN m.order_id IS NOT NULL AND o.order_id IS NULL THEN 'the mail of no order'
                WHEN o.user_id <> m.user_id OR u.email IS DISTINCT FROM m.recipient
                THEN 'to another address than the customer''s'
                WHEN o.email <> u.email THEN 'the order has another address than the customer'
                WHEN m.kind = 'order_confirmed' AND NOT was_confirmed OR m.kind = 'order_cancelled'
                     AND o.status <> 'cancelled' THEN 'the order was never in that state'
                ELSE 'the text is not about the order' END AS problem
    FROM mails_of_run m LEFT JOIN users_users u ON u.user_id = m.user_id
    LEFT JOIN (SELECT o.*, o.status = 'confirmed' OR s.kind = 'cancellation' AS was_confirmed
               FROM orders_orders o JOIN orders_sagas s USING (order_id)) o ON o.order_id = m.order_id
    WHERE u.email IS DISTINCT FROM m.recipient
       OR (m.order_id IS NOT NULL AND (o.order_id IS NULL OR o.user_id <> m.user_id OR o.email <> u.email
           OR (m.kind = 'order_confirmed' AND (NOT was_confirmed OR NOT contains(m.body_text,
               printf('Total: %d.%02d', o.total_cents // 100, o.total_cents % 100))))
           OR (m.kind = 'order_cancelled' AND (o.status <> 'cancelled'
               OR NOT contains(m.body_text, replace(o.reason, '_', ' '))))
           OR NOT contains(m.body_text, m.order_id)))
"""
_RECEIVED = """
    SELECT coalesce(m.order_id, r.order_id) AS order_id, r.message_id, m.recipient,
           r.recipient AS received_by,
           CASE WHEN m.message_id IS NULL THEN 'received, but never stored'
                WHEN r.recipient <> m.recipient THEN 'received at another address'
                WHEN r.subject <> m.subject THEN 'received with another subject'
                ELSE 'received with another order''s number' END AS problem
    FROM mail_messages r LEFT JOIN notifications_mails m USING (message_id)
    WHERE m.message_id IS NULL OR r.recipient <> m.recipient OR r.subject <> m.subject
       OR r.order_id IS DISTINCT FROM m.order_id
"""
# The mails of this run: about its orders, or from its events (a registration has no order).
_OF_RUN = """
    CREATE OR REPLACE TEMP VIEW mails_of_run AS
    FROM notifications_mails WHERE order_id IN (FROM this_run)
       OR event_id IN (SELECT event_id FROM orders_outbox)
       OR event_id IN (SELECT event_id FROM users_outbox)
"""


def mails_are_right(run: Run) -> Finding:
    """17: a mail names its order, states what is true of it, and goes to the order's customer."""
    run.execute(_OF_RUN)
    received = [_RECEIVED] if "mail.messages" in run.states else []
    return find(run, "SELECT count(*) FROM mails_of_run", _CONTENT, *received)
