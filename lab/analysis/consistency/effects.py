"""Invariants of "exactly once": keys, events and notifications."""

from __future__ import annotations

from lab.analysis.consistency.finding import Finding, count, rows, unless_working
from lab.archive import Run

# Events that have a consumer (system/topology.toml: consumes). Other events need no effect.
CONSUMED = ("UserRegistered", "OrderConfirmed", "OrderCancelled")

_EVENTS = "SELECT event_id, type, aggregate_id, created_at, published_at FROM orders_outbox"
_USERS_EVENTS = "SELECT event_id, type, aggregate_id, created_at, published_at FROM users_outbox"


def one_effect_per_key(run: Run) -> Finding:
    """4: each Idempotency-Key has one effect and one answer.

    A 202 may be followed by any definite answer. Two different definite answers are a violation.
    """
    doubled = rows(
        run.sql(
            """
            SELECT idempotency_key, count(*) AS orders, min(order_id) AS order_id
            FROM orders_orders WHERE order_id IN (FROM this_run)
            GROUP BY user_id, idempotency_key HAVING count(*) > 1 ORDER BY 1
            """
        )
    )
    answered = rows(
        run.sql(
            """
            SELECT idempotency_key, list(DISTINCT status) AS answers,
                   list(DISTINCT order_id) AS order_ids
            FROM requests
            WHERE route = 'POST /api/orders' AND idempotency_key IS NOT NULL AND outcome = 'ok'
            GROUP BY idempotency_key
            HAVING count(DISTINCT order_id) > 1 OR count(DISTINCT status) FILTER (status <> 202) > 1
            ORDER BY 1
            """
        )
    )
    known = {each["idempotency_key"] for each in doubled}
    violations = doubled + [each for each in answered if each["idempotency_key"] not in known]
    if "bank.ledger" in run.states:
        violations += rows(
            run.sql(
                """
                SELECT idempotency_key, kind, count(*) AS entries, min(reference) AS order_id
                FROM bank_ledger WHERE kind <> 'capture' AND reference IN (FROM this_run)
                GROUP BY idempotency_key, kind HAVING count(*) > 1 ORDER BY 1
                """
            )
        )
    keys = count(
        run,
        "SELECT count(DISTINCT idempotency_key) FROM orders_orders"
        " WHERE order_id IN (FROM this_run)",
    )
    resent = count(
        run,
        "SELECT count(*) FROM (SELECT idempotency_key FROM requests"
        " WHERE idempotency_key IS NOT NULL GROUP BY 1 HAVING count(*) > 1)",
    )
    return Finding(keys, violations, detail=f"{resent} keys were sent more than once")


def events_take_effect_once(run: Run) -> Finding:
    """5: each committed outbox row is published and has exactly one effect, in order per aggregate."""
    _create_events(run)
    violations = rows(
        run.sql(
            "SELECT event_id, type, aggregate_id, 'never published' AS problem"
            " FROM outbox_events WHERE published_at IS NULL ORDER BY 1"
        )
    )
    detail = "the inbox was not audited: only publishing was checked"
    if "notifications.inbox" in run.states:
        detail = ""
        violations += rows(
            run.sql(
                """
                SELECT event_id, type, aggregate_id,
                       CASE WHEN i.effects IS NULL THEN 'never took effect'
                            ELSE 'took effect ' || i.effects || ' times' END AS problem
                FROM outbox_events LEFT JOIN (
                    SELECT event_id, max(times) AS effects FROM (
                        SELECT event_id, handler, count(*) AS times
                        FROM notifications_inbox GROUP BY ALL
                    ) GROUP BY event_id
                ) i USING (event_id)
                WHERE published_at IS NOT NULL AND list_contains(?, type)
                  AND coalesce(i.effects, 0) <> 1
                ORDER BY 1
                """,
                [list(CONSUMED)],
            )
        )
        violations += rows(
            run.sql(
                """
                SELECT event_id, type, aggregate_id, 'took effect before an earlier event' AS problem
                FROM (
                    SELECT e.*, i.processed_at, max(i.processed_at) OVER (
                        PARTITION BY e.aggregate_id ORDER BY e.created_at, e.event_id
                        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS earlier
                    FROM outbox_events e JOIN notifications_inbox i USING (event_id)
                ) WHERE processed_at < earlier ORDER BY 1
                """
            )
        )
    if "notifications.mails" in run.states:
        violations += rows(
            run.sql(
                """
                SELECT event_id, count(*) AS mails, 'one event, several mails' AS problem
                FROM notifications_mails WHERE event_id IN (SELECT event_id FROM outbox_events)
                GROUP BY event_id HAVING count(*) > 1 ORDER BY 1
                """
            )
        )
    return unless_working(
        run, count(run, "SELECT count(*) FROM outbox_events"), [], violations, detail
    )


def confirmed_orders_are_notified(run: Run) -> Finding:
    """9: each confirmed order has exactly one delivered mail."""
    return _notified(run, "confirmed")


def cancelled_orders_are_notified(run: Run) -> Finding:
    """18: each cancelled order has exactly one delivered mail about its cancellation."""
    return _notified(run, "cancelled")


def _notified(run: Run, status: str) -> Finding:
    """Each order of this status has exactly one delivered mail of the kind `order_<status>`.

    An order whose event was lost is left out: invariant 5 reports it. A mail counts as delivered
    if the mail server received it.
    """
    lost = "SELECT NULL WHERE false"
    if "orders.outbox" in run.states:
        _create_events(run)
        never = "published_at IS NULL"
        if "notifications.inbox" in run.states:
            never += " OR event_id NOT IN (SELECT event_id FROM notifications_inbox)"
        events = "SELECT aggregate_id FROM outbox_events WHERE lower(type) = 'order"
        lost = f"{events}{status}' AND ({never})"
    run.execute(f"CREATE OR REPLACE TEMP VIEW lost_events(order_id) AS {lost}")
    received = "mail.messages" in run.states
    arrived = "SELECT message_id, count(*) AS copies FROM mail_messages GROUP BY 1"
    if not received:
        arrived = "SELECT message_id, 1 AS copies FROM notifications_mails"
    run.execute(f"CREATE OR REPLACE TEMP VIEW arrived_mails AS {arrived}")
    violations = rows(
        run.sql(
            """
            SELECT o.order_id, count(m.event_id) AS mails,
                   count(m.event_id) FILTER (m.status = 'sent') AS sent,
                   coalesce(sum(a.copies), 0) AS received,
                   CASE WHEN count(m.event_id) = 0 THEN 'no mail'
                        WHEN count(DISTINCT m.event_id) > 1 OR sum(a.copies) > 1 THEN 'twice'
                        ELSE 'mail not delivered' END AS problem
            FROM orders_orders o
            LEFT JOIN notifications_mails m ON m.order_id = o.order_id AND m.kind = 'order_' || $status
            LEFT JOIN arrived_mails a ON a.message_id = m.message_id AND m.status = 'sent'
            WHERE o.status = $status AND o.order_id IN (FROM this_run)
              AND o.order_id NOT IN (FROM lost_events)
            GROUP BY o.order_id
            HAVING count(DISTINCT m.event_id) <> 1 OR count(*) FILTER (m.status = 'sent') = 0
                OR coalesce(max(a.copies), 0) <> 1
            ORDER BY 1
            """,
            {"status": status},
        )
    )
    orders = "SELECT count(*) FROM orders_orders WHERE order_id IN (FROM this_run) AND status = "
    checked = count(run, f"{orders}'{status}'")
    detail = "" if received else "the messages of the mail server were not audited"
    return unless_working(run, checked, [], violations, detail)


def _create_events(run: Run) -> None:
    """Create the view `outbox_events`: this run's events of all audited services."""
    query = _EVENTS
    if "users.outbox" in run.states:
        query += " UNION ALL " + _USERS_EVENTS
    run.execute(f"CREATE OR REPLACE TEMP VIEW outbox_events AS {query}")
