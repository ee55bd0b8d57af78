"""Planted bugs in the mails to customers."""

from bench.mutants_table.mutant import Mutant

KIND = "mails"
MUTANTS = (
    Mutant(
        "mail_to_first_customer",
        KIND,
        "All mails of one kind go to the customer who got the first one.",
        "shop/notifications/handlers.py",
        """        def row(event: Any, traceparent: str) -> MailRow:
""",
        """        addresses: dict[Any, str] = {}

        def row(event: Any, traceparent: str) -> MailRow:
            address = addresses.setdefault(type(event), event.email)
            event = event.model_copy(update={"email": address})
""",
    ),
    Mutant(
        "mail_names_other_order",
        KIND,
        "The header X-Order-Id of a mail has the mail's own id in place of the order's id.",
        "shop/notifications/letter.py",
        '"X-Order-Id": mail.order_id or ""',
        '"X-Order-Id": mail.id',
    ),
    Mutant(
        "confirmation_at_placing",
        KIND,
        "The customer gets a confirmation mail when the order is placed, also if it is refused later.",
        "shop/orders/store.py",
        "events=[placed],",
        """events=[placed, OrderConfirmed(
                **placed.model_dump(exclude={"event_id"}), email=order.email
            )],""",
    ),
    Mutant(
        "no_cancellation_mail",
        KIND,
        "A cancelled order gets no mail.",
        "shop/notifications/handlers.py",
        """        OrderCancelled: stores(order_cancelled),
""",
        "",
    ),
    Mutant(
        "mail_with_wrong_total",
        KIND,
        "The confirmation mail names a tenth of the order's total.",
        "shop/notifications/domain.py",
        "divmod(event.total_cents, 100)",
        "divmod(event.total_cents // 10, 100)",
    ),
    Mutant(
        "mail_not_marked",
        KIND,
        "A mail for an order is not marked as sent, so that it is sent again every ten seconds.",
        "shop/notifications/sender.py",
        "if await self._deliver(mail):",
        "if await self._deliver(mail) and not mail.order_id:",
    ),
)
