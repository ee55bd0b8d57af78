"""Consistency between services: sagas, outbox and inbox, payments in doubt, mails."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.board import Row, make
from dashboards.panels import Panel, Query, graph
from dashboards.promql import chosen, quantile, rate


def board() -> Dashboard:
    return make(
        "consistency",
        "Breakwater: sagas and consistency",
        "Work that is still in progress between services. All of it must complete.",
        Row("Orders and sagas", _sagas()),
        Row("Events", _events()),
        Row("Payments and stock", _payments()),
        Row("Mails", _mails()),
    )


def _sagas() -> list[Panel]:
    undoing = 'step=~"release_stock|void_authorization|refund_payment"'
    return [
        graph(
            "Pending orders",
            "Sagas that have not ended: all in the database, and those that each instance runs now.",
            "short",
            Query('max(saga_pending{job="shop"})', "pending"),
            Query(f"sum by (instance) ({chosen('saga_active')})", "{{instance}} runs"),
        ),
        graph(
            "Outcomes of orders",
            "Sagas that end per second, by outcome and reason.",
            "cps",
            Query(rate("saga_outcomes_total", by="outcome, reason"), "{{outcome}} {{reason}}"),
            stacked=True,
        ),
        graph(
            "Duration of orders",
            "Time from an order's arrival to the end of its saga.",
            "s",
            Query(quantile(0.5, "saga_duration_seconds", by="outcome"), "{{outcome}} median"),
            Query(quantile(0.99, "saga_duration_seconds", by="outcome"), "{{outcome}} p99"),
        ),
        graph(
            "Compensations",
            "Compensations per second: stock released, authorizations voided, payments refunded.",
            "cps",
            Query(rate("saga_steps_total", undoing, by="step, phase"), "{{step}} {{phase}}"),
        ),
        graph(
            "Steps that did not succeed",
            "Refused steps, and failed or unknown ones, which are retried later.",
            "cps",
            Query(
                rate("saga_steps_total", 'phase!="done"', by="step, phase"), "{{step}} {{phase}}"
            ),
        ),
        graph(
            "Use of idempotency keys",
            "Requests with an Idempotency-Key. A replayed request gets the first answer again.",
            "cps",
            Query(rate("idempotency_total", by="service, result"), "{{service}} {{result}}"),
        ),
    ]


def _events() -> list[Panel]:
    return [
        graph(
            "Events in the outbox",
            "Committed events that are not yet published.",
            "short",
            Query(f"max by (service) ({chosen('outbox_pending')})", "{{service}}"),
        ),
        graph(
            "Age of the oldest event in the outbox",
            "It grows while the broker is not available.",
            "s",
            Query(f"max by (service) ({chosen('outbox_oldest_age_seconds')})", "{{service}}"),
        ),
        graph(
            "Events published and handled",
            "Events per second, by type.",
            "cps",
            Query(rate("outbox_published_total", by="type"), "{{type}} published"),
            Query(rate("inbox_events_total", 'result="handled"', by="type"), "{{type}} handled"),
        ),
        graph(
            "Events not yet handled",
            "Events that wait or are being handled.",
            "short",
            Query(f"max by (service) ({chosen('inbox_lag')})", "{{service}}"),
        ),
        graph(
            "Redelivered, duplicate and dead events",
            "Redeliveries, duplicates that the inbox dropped, and dead letters.",
            "cps",
            Query(rate("inbox_redeliveries_total", by="type"), "{{type}} redelivered"),
            Query(
                rate("inbox_events_total", 'result!="handled"', by="type, result"),
                "{{type}} {{result}}",
            ),
        ),
        graph(
            "Dead letters",
            "Messages in the stream DEAD. Each needs a decision by an operator.",
            "short",
            Query('max(nats_stream_messages{stream="DEAD"})', "dead letters"),
        ),
    ]


def _payments() -> list[Panel]:
    return [
        graph(
            "Payments in doubt",
            "The last call to the bank has no answer yet. The reconciler resolves these payments.",
            "short",
            Query(f"max({chosen('payments_in_doubt')})", "in doubt"),
        ),
        graph(
            "Decisions of the bank",
            "Counted by the bank itself.",
            "cps",
            Query(rate("bank_requests_total", by="operation, result"), "{{operation}} {{result}}"),
        ),
        graph(
            "Held reservations",
            "Reservations that hold goods.",
            "short",
            Query(f"max({chosen('reservations_held')})", "held"),
        ),
        graph(
            "Expired reservations",
            "Reservations that were neither committed nor released in time.",
            "cps",
            Query(rate("reservations_expired_total", by="service"), "expired"),
        ),
    ]


def _mails() -> list[Panel]:
    return [
        graph(
            "Pending mails",
            "Mails that are stored and not sent yet.",
            "short",
            Query(f"max({chosen('mails_pending')})", "waiting"),
        ),
        graph(
            "Answers of the mail server",
            "Delivery attempts per second, by result.",
            "cps",
            Query(rate("mails_total", by="result"), "{{result}}"),
        ),
        graph(
            "Delay of mails",
            "Time from the storing of a mail to its acceptance by the mail server.",
            "s",
            Query(quantile(0.5, "mail_delay_seconds", by="service"), "median"),
            Query(quantile(0.99, "mail_delay_seconds", by="service"), "99th percentile"),
            span=24,
        ),
    ]
