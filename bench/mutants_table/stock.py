"""Planted bugs in the handling of goods."""

from bench.mutants_table.mutant import Mutant

KIND = "stock"
MUTANTS = (
    Mutant(
        "third_line_not_moved",
        KIND,
        "The third line of an order is reserved, and never shipped, released or returned.",
        "shop/inventory/store.py",
        "        lines = after.lines if move else ()\n",
        "        lines = after.lines[: 2 if before else None] if move else ()\n",
    ),
    Mutant(
        "never_shipped",
        KIND,
        "An order is paid and confirmed, and its goods stay reserved until the reservation expires.",
        "shop/orders/saga.py",
        """    retried(commit_stock),
""",
        "",
    ),
    Mutant(
        "cancelled_goods_not_returned",
        KIND,
        "The goods of a confirmed order that the customer cancels stay shipped.",
        "shop/orders/saga.py",
        "CANCELLATION = (retried(refund_payment), retried(take_stock_back))",
        "CANCELLATION = (retried(refund_payment),)",
    ),
    Mutant(
        "released_goods_stay_reserved",
        KIND,
        "Released goods are on hand again, and are still counted as reserved too.",
        "shop/inventory/domain.py",
        "PUT_BACK = (+1, -1, 0)",
        "PUT_BACK = (+1, 0, 0)",
    ),
    Mutant(
        "returned_goods_counted_twice",
        KIND,
        "Each returned unit puts two units on hand.",
        "shop/inventory/domain.py",
        "TAKE_BACK = (+1, 0, -1)",
        "TAKE_BACK = (+2, 0, -1)",
    ),
    Mutant(
        "goods_kept_after_refusal",
        KIND,
        "The goods of an order whose card is declined stay reserved for the whole time of the reservation.",
        "shop/orders/saga.py",
        """async def release_stock(ports: Ports, order: Order) -> None:
    await ports.inventory.release(order)
""",
        """async def release_stock(ports: Ports, order: Order) -> None:
    return  # the sweeper expires the reservation
""",
    ),
)
