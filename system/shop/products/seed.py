"""A catalogue of 1,000 realistic products, the same in every lab: a small word list and a fixed seed."""

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from chassis.postgres.connection import Conn

PRODUCTS = 1000
SEED = "breakwater catalogue"

# category: (goods, materials, lowest and highest price in cents)
RANGE: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[int, int]]] = {
    "Books": (
        ("Atlas", "Cookbook", "Field Guide", "Notebook", "Novel", "Star Chart", "Tide Table"),
        ("Clothbound", "Hardcover", "Illustrated", "Paperback", "Pocket"),
        (690, 5900),
    ),
    "Boating": (
        ("Anchor", "Boat Hook", "Cleat", "Compass", "Fender", "Life Vest", "Mooring Line", "Oar"),
        ("Brass", "Galvanised", "Marine", "Polyester", "Stainless"),
        (990, 24900),
    ),
    "Clothing": (
        ("Anorak", "Beanie", "Gloves", "Pullover", "Rain Jacket", "Scarf", "Socks", "Trousers"),
        ("Canvas", "Cotton", "Fleece", "Linen", "Merino", "Waxed"),
        (890, 18900),
    ),
    "Electronics": (
        ("Barometer", "Charger", "Headlamp", "Lantern", "Power Bank", "Radio", "Speaker"),
        ("Compact", "Rugged", "Solar", "Waterproof", "Wireless"),
        (1490, 29900),
    ),
    "Furniture": (
        ("Bench", "Bookcase", "Chair", "Deckchair", "Desk", "Lamp", "Shelf", "Stool", "Table"),
        ("Ash", "Beech", "Driftwood", "Oak", "Pine", "Teak"),
        (3900, 89900),
    ),
    "Garden": (
        ("Bird House", "Bucket", "Planter", "Pruner", "Rain Barrel", "Trowel", "Watering Can"),
        ("Cedar", "Copper", "Enamel", "Steel", "Terracotta"),
        (790, 15900),
    ),
    "Kitchen": (
        (
            "Bowl",
            "Bread Knife",
            "Coffee Grinder",
            "Cutting Board",
            "Kettle",
            "Mug",
            "Pan",
            "Teapot",
        ),
        ("Bamboo", "Cast Iron", "Ceramic", "Copper", "Glass", "Stoneware"),
        (590, 19900),
    ),
    "Outdoor": (
        ("Backpack", "Camp Stove", "Cool Box", "Hammock", "Sleeping Bag", "Tent", "Thermos"),
        ("Alpine", "Featherlight", "Insulated", "Trekking", "Waterproof"),
        (1290, 44900),
    ),
    "Tools": (
        ("Chisel", "Hammer", "Hand Saw", "Plane", "Pliers", "Screwdriver", "Tape Measure", "Vice"),
        ("Beech", "Carbon", "Forged", "Precision", "Steel"),
        (690, 12900),
    ),
    "Toys": (
        ("Building Blocks", "Kite", "Model Boat", "Puzzle", "Spinning Top", "Train Set"),
        ("Birch", "Felt", "Maple", "Painted", "Tin"),
        (490, 8900),
    ),
}
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
        goods, materials, (low, high) = RANGE[category]
        line, material, good = rng.choice(LINES), rng.choice(materials), rng.choice(goods)
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
