"""Do the books balance in the end? Sagas, outbox and inbox, payments in doubt, mails."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.board import Row, make
from dashboards.panels import Panel, Query, graph
from dashboards.promql import chosen, quantile, rate


def board() -> Dashboard:
    return make(
        "consistency",
        "Breakwater: sagas and consistency",
        "What is still on its way between the services; all of it must come to rest.",
        Row("Do orders come to an end?", _sagas()),
        Row("Do events arrive?", _events()),
        Row("Is money or stock left hanging?", _books()),
        Row("Do mails go out?", _mails()),
    )


def _sagas() -> list[Panel]:
    undoing = 'step=~"release_stock|void_authorization|refund_payment"'
    return [
        graph(
            "How many orders are under way?",
            "Sagas that have not ended: pending in the database, and run by each instance now.",
            "short",
            Query('max(saga_pending{job="shop"})', "pending in all"),
            Query(f"sum by (instance) ({chosen('saga_active')})", "{{instance}} runs"),
        ),
        graph(
            "How do orders end?",
            "Sagas that ended a second, by outcome and reason.",
            "cps",
            Query(rate("saga_outcomes_total", by="outcome, reason"), "{{outcome}} {{reason}}"),
            stacked=True,
        ),
        graph(
            "How long does an order take?",
            "From its arrival to the saga's end.",
            "s",
            Query(quantile(0.5, "saga_duration_seconds", by="outcome"), "{{outcome}} median"),
            Query(quantile(0.99, "saga_duration_seconds", by="outcome"), "{{outcome}} p99"),
        ),
        graph(
            "What is undone?",
            "Compensations a second: stock released, authorisations voided, payments refunded.",
            "cps",
            Query(rate("saga_steps_total", undoing, by="step, phase"), "{{step}} {{phase}}"),
        ),
        graph(
            "Which steps do not go through?",
            "Steps refused (a definite no), failed, or unknown: asked again later.",
            "cps",
            Query(
                rate("saga_steps_total", 'phase!="done"', by="step, phase"), "{{step}} {{phase}}"
            ),
        ),
        graph(
            "How often is a request repeated?",
            "Uses of an Idempotency-Key; replayed ones got the first answer again.",
            "cps",
            Query(rate("idempotency_total", by="service, result"), "{{service}} {{result}}"),
        ),
    ]


def _events() -> list[Panel]:
    return [
        graph(
            "How many events wait in the outbox?",
            "Committed with their transaction, not yet at the broker.",
            "short",
            Query(f"max by (service) ({chosen('outbox_pending')})", "{{service}}"),
        ),
        graph(
            "How old is the oldest of them?",
            "It grows by a second a second while the broker is away.",
            "s",
            Query(f"max by (service) ({chosen('outbox_oldest_age_seconds')})", "{{service}}"),
        ),
        graph(
            "How many events leave, how many are handled?",
            "Published to the broker, and handled by their consumers, by type.",
            "cps",
            Query(rate("outbox_published_total", by="type"), "{{type}} published"),
            Query(rate("inbox_events_total", 'result="handled"', by="type"), "{{type}} handled"),
        ),
        graph(
            "Does the consumer keep up?",
            "Events waiting or in work.",
            "short",
            Query(f"max by (service) ({chosen('inbox_lag')})", "{{service}}"),
        ),
        graph(
            "What comes twice, or never gets through?",
            "Redeliveries, duplicates that the inbox took out, and dead letters.",
            "cps",
            Query(rate("inbox_redeliveries_total", by="type"), "{{type}} redelivered"),
            Query(
                rate("inbox_events_total", 'result!="handled"', by="type, result"),
                "{{type}} {{result}}",
            ),
        ),
        graph(
            "How many dead letters lie there?",
            "Messages of the stream DEAD: each wants a person.",
            "short",
            Query('max(nats_stream_messages{stream="DEAD"})', "dead letters"),
        ),
    ]


def _books() -> list[Panel]:
    return [
        graph(
            "How many payments are in doubt?",
            "The last question to the bank has no answer yet; the reconciler asks again.",
            "short",
            Query(f"max({chosen('payments_in_doubt')})", "in doubt"),
        ),
        graph(
            "What did the bank decide?",
            "The bank's own count, the second witness.",
            "cps",
            Query(rate("bank_requests_total", by="operation, result"), "{{operation}} {{result}}"),
        ),
        graph(
            "How much stock is held?",
            "Reservations that hold goods.",
            "short",
            Query(f"max({chosen('reservations_held')})", "held"),
        ),
        graph(
            "How many reservations expire?",
            "Swept because nobody committed or released them in time.",
            "cps",
            Query(rate("reservations_expired_total", by="service"), "expired"),
        ),
    ]


def _mails() -> list[Panel]:
    return [
        graph(
            "How many mails wait?",
            "Written down with the event, not sent yet.",
            "short",
            Query(f"max({chosen('mails_pending')})", "waiting"),
        ),
        graph(
            "What does the mail server say?",
            "Deliveries tried a second.",
            "cps",
            Query(rate("mails_total", by="result"), "{{result}}"),
        ),
        graph(
            "How late is a mail?",
            "From its writing down to the server's yes.",
            "s",
            Query(quantile(0.5, "mail_delay_seconds", by="service"), "median"),
            Query(quantile(0.99, "mail_delay_seconds", by="service"), "99th percentile"),
            span=24,
        ),
    ]
