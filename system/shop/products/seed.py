"""A catalogue of 1,000 realistic products, the same in every lab: a small word list and a fixed seed."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from chassis.postgres.connection import Conn

PRODUCTS = 1000
SEED = "breakwater catalogue"

# by category: goods, materials, lowest and highest price
RANGE: dict[str, dict[str, Any]] = tomllib.loads(Path(__file__).with_name("goods.toml").read_text())
LINES = (
    "Breton", "Fjord", "Gale", "Halyard", "Harbour", "Island",
    "Lagoon", "North Sea", "Quay", "Reef", "Skerry", "Tidal",
)  # fmt: skip
PRAISE = (
    "made to last a lifetime", "repairable, with spare parts for ten years",
    "light enough to take along", "tested on a wet and windy pier",
    "made in small batches", "a favourite of our own crew",
)  # fmt: skip


class Product(NamedTuple):
    id: str
    name: str
    description: str
    category: str
    price_cents: int


def catalogue(count: int = PRODUCTS) -> Iterator[Product]:
    """Products from SKU-0001 on. Prices end in 90 cents."""
    rng = Random(SEED)
    categories = sorted(RANGE)
    for number in range(1, count + 1):
        category = rng.choice(categories)
        kind = RANGE[category]
        line, material = rng.choice(LINES), rng.choice(kind["materials"])
        good, (low, high) = rng.choice(kind["goods"]), kind["price_cents"]
        # squared: more low prices than high ones
        price_cents = int(low + (high - low) * rng.random() ** 2) // 100 * 100 + 90
        yield Product(
            f"SKU-{number:04d}",
            f"{line} {material} {good}",
            f"{good} from our {line} line ({material.lower()}), {rng.choice(PRAISE)}.",
            category,
            price_cents,
        )


async def seed(conn: Conn) -> None:
    """Fill an empty catalogue."""
    if await conn.fetchval("SELECT EXISTS (SELECT FROM products)"):
        return
    await conn.copy_records_to_table(
        "products", columns=list(Product._fields), records=list(catalogue())
    )
