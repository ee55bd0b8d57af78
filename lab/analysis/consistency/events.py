"""Invariants of events: each state change has its event, and each effect has an event as its cause."""

from __future__ import annotations

from lab.analysis.consistency.finding import Finding, create_recent, find
from lab.archive import Run

# A customer's cancellation follows a confirmation. An order's version is 1, plus 1 for each end of a saga.
_CHANGES = """
    SELECT o.order_id, o.status, o.version,
           count(*) FILTER (e.type = 'OrderPlaced') AS placed,
           count(*) FILTER (e.type = 'OrderConfirmed') AS confirmed,
           count(*) FILTER (e.type = 'OrderCancelled') AS cancelled,
           'its events are not those of its state changes' AS problem
    FROM orders_orders o JOIN orders_sagas s USING (order_id)
    LEFT JOIN order_events e ON e.aggregate_id = o.order_id
    WHERE o.order_id IN (FROM this_run) GROUP BY o.order_id, o.status, o.version, s.kind
    HAVING placed <> 1 OR cancelled <> (o.status = 'cancelled')::INT
        OR confirmed <> (o.status = 'confirmed' OR s.kind = 'cancellation')::INT
        OR o.version <> placed + confirmed + cancelled
"""
_CONTENT = """
    SELECT o.order_id, e.event_id, e.type, e.payload, 'the event has other data than its order' AS problem
    FROM order_events e JOIN orders_orders o ON o.order_id = e.aggregate_id
    WHERE o.order_id IN (FROM this_run)
      AND (json_extract_string(e.payload, 'aggregate_id') IS DISTINCT FROM o.order_id
           OR json_extract_string(e.payload, 'event_id') IS DISTINCT FROM e.event_id
           OR json_extract_string(e.payload, 'user_id') IS DISTINCT FROM o.user_id
           OR (e.type <> 'OrderPlaced' AND json_extract_string(e.payload, 'email') IS DISTINCT FROM o.email)
           OR (e.type <> 'OrderCancelled'
               AND json_extract_string(e.payload, 'total_cents')::BIGINT IS DISTINCT FROM o.total_cents)
           OR (e.type = 'OrderCancelled' AND json_extract_string(e.payload, 'reason') IS DISTINCT FROM o.reason))
"""
# `orders_outbox` has the events of this run only, `order_events` those of all runs.
_NO_ORDER = """
    SELECT aggregate_id AS order_id, event_id, type, 'the event of no order' AS problem
    FROM orders_outbox WHERE aggregate_id NOT IN (SELECT order_id FROM orders_orders)
"""
_ALL_EVENTS = """
    CREATE OR REPLACE TEMP VIEW all_events AS
    SELECT event_id, type, aggregate_id FROM order_events
    UNION ALL SELECT event_id, type, aggregate_id FROM user_events
"""
_HANDLED = """
    SELECT e.aggregate_id AS order_id, i.event_id, i.handler, e.type,
           CASE WHEN e.type IS NULL THEN 'handled, but never committed'
                ELSE 'handled as another event' END AS problem
    FROM recent_inbox i LEFT JOIN all_events e USING (event_id)
    WHERE e.type IS DISTINCT FROM i.handler
"""
_MAILED = """
    SELECT m.order_id, m.event_id, m.kind, e.type,
           CASE WHEN e.type IS NULL THEN 'mailed, but never committed'
                WHEN m.event_id NOT IN (SELECT event_id FROM notifications_inbox)
                THEN 'mailed, but never handled' ELSE 'the mail of another event' END AS problem
    FROM recent_mails m LEFT JOIN all_events e USING (event_id)
    WHERE m.event_id NOT IN (SELECT event_id FROM notifications_inbox)
       OR m.kind IS DISTINCT FROM CASE e.type
              WHEN 'OrderConfirmed' THEN 'order_confirmed' WHEN 'OrderCancelled' THEN 'order_cancelled'
              WHEN 'UserRegistered' THEN 'welcome' END
       OR coalesce(m.order_id, e.aggregate_id) IS DISTINCT FROM e.aggregate_id
"""


def changes_have_events(run: Run) -> Finding:
    """15: an order has one event for each of its state changes, with the order's data."""
    run.state("orders.outbox").create_view("order_events", replace=True)
    checked = "SELECT count(*) FROM orders_orders WHERE order_id IN (FROM this_run)"
    return find(run, checked, _CHANGES, _CONTENT, _NO_ORDER)


def effects_have_events(run: Run) -> Finding:
    """16: each handled event was committed by its service, and each mail comes from a handled event."""
    run.state("orders.outbox").create_view("order_events", replace=True)
    run.state("users.outbox").create_view("user_events", replace=True)
    run.execute(_ALL_EVENTS)
    create_recent(run, "recent_inbox", "notifications.inbox", "processed_at")
    create_recent(run, "recent_mails", "notifications.mails", "created_at")
    return find(run, "SELECT count(*) FROM recent_inbox", at_quiescence=[_HANDLED, _MAILED])
