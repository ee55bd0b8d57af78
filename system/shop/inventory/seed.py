"""The lab's stock: plenty of every SKU except the last ten."""

from chassis.postgres.connection import Conn

SKUS = 1000
SCARCE_FROM = 991


def quantity(number: int) -> int:
    """Units of SKU-<number>: 5,000 to 10,000, from SKU-0991 on 5 to 20; the same in every lab."""
    if number >= SCARCE_FROM:
        return 5 + number * 7 % 16
    return 5000 + number * 7919 % 5001


async def seed(conn: Conn) -> None:
    """Fill an empty stock table."""
    if await conn.fetchval("SELECT EXISTS (SELECT FROM stock)"):
        return
    numbers = range(1, SKUS + 1)
    await conn.execute(
        "INSERT INTO stock (sku, initial, on_hand)"
        " SELECT sku, quantity, quantity FROM unnest($1::text[], $2::int[]) AS t (sku, quantity)",
        [f"SKU-{number:04}" for number in numbers],
        [quantity(number) for number in numbers],
    )
