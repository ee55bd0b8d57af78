"""The invariant of stock: what was there is on hand, reserved or shipped, and never less than none."""

from __future__ import annotations

from lab.analysis.consistency.finding import Finding, count, rows
from lab.archive import Run


def stock_adds_up(run: Run) -> Finding:
    """3: initial = on hand + reserved + shipped per SKU, on hand >= 0.

    With the reservations at hand also: reserved is what they hold and shipped what they committed.
    An update lost between two buyers leaves the sum right and the reservations one too many.
    """
    off = run.sql(
        """
        SELECT sku, initial, on_hand, reserved, shipped,
               CASE WHEN on_hand < 0 THEN 'on hand below zero' ELSE 'the sum is off' END AS problem
        FROM inventory_stock
        WHERE on_hand < 0 OR reserved < 0 OR shipped < 0 OR initial <> on_hand + reserved + shipped
        ORDER BY sku
        """
    )
    violations = rows(off)
    detail = ""
    if "inventory.reservations" in run.states:
        violations += rows(
            run.sql(
                """
                WITH promised AS (
                    SELECT sku, sum(quantity) FILTER (status = 'held') AS held,
                           sum(quantity) FILTER (status = 'committed') AS committed
                    FROM inventory_reservations GROUP BY sku
                )
                SELECT sku, reserved, coalesce(held, 0) AS held, shipped,
                       coalesce(committed, 0) AS committed,
                       'promised more or less than the stock says' AS problem
                FROM inventory_stock LEFT JOIN promised USING (sku)
                WHERE on_hand >= 0 AND initial = on_hand + reserved + shipped
                  AND (reserved <> coalesce(held, 0) OR shipped <> coalesce(committed, 0))
                ORDER BY sku
                """
            )
        )
        moved = count(run, "SELECT count(DISTINCT sku) FROM inventory_reservations")
        detail = f"{moved} SKUs were ever reserved"
    return Finding(count(run, "SELECT count(*) FROM inventory_stock"), violations, detail=detail)
