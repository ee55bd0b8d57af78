"""The invariant of stock: the initial stock is on hand, reserved or shipped, and never negative."""

from __future__ import annotations

from lab.analysis.consistency.finding import Finding, count, rows
from lab.archive import Run


def stock_adds_up(run: Run) -> Finding:
    """3: initial = on hand + reserved + shipped per SKU, on hand >= 0.

    If the reservations were audited, `reserved` must equal the held reservations and `shipped` the
    committed ones. A lost update between two buyers keeps the sum correct, but leaves one
    reservation too many.
    """
    wrong = run.sql(
        """
        SELECT sku, initial, on_hand, reserved, shipped,
               CASE WHEN on_hand < 0 THEN 'on hand below zero' ELSE 'the sum is wrong' END AS problem
        FROM inventory_stock
        WHERE on_hand < 0 OR reserved < 0 OR shipped < 0 OR initial <> on_hand + reserved + shipped
        ORDER BY sku
        """
    )
    violations = rows(wrong)
    detail = ""
    if "inventory.reservations" in run.states:
        violations += rows(
            run.sql(
                """
                WITH reserved_by_order AS (
                    SELECT sku, sum(quantity) FILTER (status = 'held') AS held,
                           sum(quantity) FILTER (status = 'committed') AS committed
                    FROM inventory_reservations GROUP BY sku
                )
                SELECT sku, reserved, coalesce(held, 0) AS held, shipped,
                       coalesce(committed, 0) AS committed,
                       'reservations do not match the stock' AS problem
                FROM inventory_stock LEFT JOIN reserved_by_order USING (sku)
                WHERE on_hand >= 0 AND initial = on_hand + reserved + shipped
                  AND (reserved <> coalesce(held, 0) OR shipped <> coalesce(committed, 0))
                ORDER BY sku
                """
            )
        )
        moved = count(run, "SELECT count(DISTINCT sku) FROM inventory_reservations")
        detail = f"{moved} SKUs had reservations"
    skus = count(run, "SELECT count(*) FROM inventory_stock")
    return Finding(skus, violations, detail=detail, lacks="" if skus else "there is no stock")
