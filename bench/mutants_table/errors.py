"""Planted bugs in the handling of errors."""

from bench.mutants_table.mutant import LOST_ANSWERS, Mutant

KIND = "errors"
MUTANTS = (
    Mutant(
        "one_read_in_sixteen_fails",
        KIND,
        "The page of every sixteenth order answers with an unhandled error.",
        "shop/gateway/order_details.py",
        '{**order.body, "payment": payment,',
        '{**order.body, "group": 100 // int(order_id[-1], 16), "payment": payment,',
    ),
    Mutant(
        "error_line_each_order",
        KIND,
        "Each successful step of an order writes a log line of level ERROR.",
        "shop/orders/runner.py",
        """        self._report(progress, name, "done")
""",
        """        self._report(progress, name, "done")
        log.error("order %s: step %s done", progress.order.id, name)
""",
    ),
    Mutant(
        "failed_void_ignored",
        KIND,
        "A compensation that cannot void the payment counts as done, so that the hold stays on the card.",
        "shop/orders/saga.py",
        """    await ports.payments.void(order)
""",
        """    try:
        await ports.payments.void(order)
    except Exception:
        pass  # best effort
""",
        LOST_ANSWERS,
    ),
    Mutant(
        "no_answer_counts_as_done",
        KIND,
        "A step of an order without an answer counts as done, so that unpaid orders are confirmed.",
        "shop/orders/runner.py",
        """                await self._park(progress, error.retry_after_s or 0.0)
                return None
""",
        """                return progress.done()
""",
        LOST_ANSWERS,
    ),
    Mutant(
        "shop_bug_called_busy",
        KIND,
        "An unknown product on an order is answered with 503 in place of 422, so that clients try again.",
        "shop/orders/app.py",
        "UnknownSkuError: 422,",
        "UnknownSkuError: 503,",
    ),
)
