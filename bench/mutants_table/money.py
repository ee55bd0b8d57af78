"""Planted bugs in the handling of money."""

from bench.mutants_table.mutant import Mutant

KIND = "money"
MUTANTS = (
    Mutant(
        "second_hold",
        KIND,
        "Every card gets a second authorization hold, which is never captured or voided.",
        "shop/payments/clients.py",
        """        response = await self._post("/authorizations", key=key, json=body)
""",
        """        # check the card first
        await self._post("/authorizations", key=f"{key}:check", json=body)
        response = await self._post("/authorizations", key=key, json=body)
""",
    ),
    Mutant(
        "every_second_line_free",
        KIND,
        "An order of two or three lines is charged without its second line.",
        "shop/orders/domain.py",
        "total = sum(line.quantity * line.price_cents for line in lines)",
        "total = sum(line.quantity * line.price_cents for line in lines[::2])",
    ),
    Mutant(
        "quantity_not_charged",
        KIND,
        "A line of two units is charged as one unit.",
        "shop/orders/domain.py",
        "total = sum(line.quantity * line.price_cents for line in lines)",
        "total = sum(line.price_cents for line in lines)",
    ),
    Mutant(
        "charged_in_whole_euros",
        KIND,
        "The card is charged the total without its cents, which is less than the order's total.",
        "shop/orders/clients.py",
        '"amount_cents": order.total_cents,',
        '"amount_cents": max(100, order.total_cents // 100 * 100),',
    ),
    Mutant(
        "dollars_for_euros",
        KIND,
        "An order in EUR is paid in USD, with the same number of cents.",
        "shop/orders/clients.py",
        '"currency": order.currency, "card_number"',
        '"currency": "USD", "card_number"',
    ),
    Mutant(
        "never_captured",
        KIND,
        "An order is confirmed and shipped, and its money is held and never captured.",
        "shop/orders/saga.py",
        """    pivot(capture_payment, undo=refund_payment),
""",
        "",
    ),
    Mutant(
        "refund_not_sent",
        KIND,
        "A refund is recorded in payments and never sent to the bank.",
        "shop/payments/payments.py",
        "            answer = await call(key)\n",
        "            answer = await call(key) if operation is not Operation.REFUND else None\n",
    ),
    Mutant(
        "half_refund",
        KIND,
        "A refund returns half of the captured amount.",
        "shop/bank/domain.py",
        "refunded = before.refunded_cents + amount\n",
        "refunded = before.refunded_cents + amount // 2\n",
    ),
    Mutant(
        "capture_above_hold",
        KIND,
        "The bank captures a service charge of 5 % above the held amount.",
        "shop/bank/domain.py",
        "captured = before.captured_cents + amount\n",
        "captured = before.captured_cents + amount + amount // 20\n",
    ),
)
