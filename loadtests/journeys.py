"""What shoppers come for: one function an errand. Edit, copy, add your own.

`errand.rng` decides everything that is left to chance, so a seed repeats the same choices.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from random import Random
from typing import Any
from urllib.parse import quote

from lab.load.shopper_task import ShopperTask

PRODUCTS = 1000  # SKU-0001 ... SKU-1000, as the catalogue is seeded
CARDS = {"4242424242424242": 0.95, "4000000000000002": 0.03, "4000000000009995": 0.02}
WORDS = ("lamp", "chair", "mug", "blue", "oak", "travel", "mini", "classic", "kitchen", "garden")


def list_products(errand: ShopperTask) -> None:
    """Look at a page of the catalogue, sometimes at the second one too far down to be cached."""
    limit = errand.rng.choice((20, 20, 50))
    errand.send("GET", f"/api/products?limit={limit}", "/api/products")


def product(errand: ShopperTask) -> None:
    """Open a product's page; few products get most of the looks."""
    errand.send("GET", f"/api/products/{popular_sku(errand.rng)}", "/api/products/{id}")


def search(errand: ShopperTask) -> None:
    """Search the catalogue for a word."""
    word = quote(errand.rng.choice(WORDS))
    errand.send("GET", f"/api/products?query={word}&limit=20", "/api/products")


def order(errand: ShopperTask) -> None:
    """Place an order; when its fate is unknown, ask again with the same key."""
    body = {"lines": basket(errand.rng), "payment": {"card_number": card(errand.rng)}}
    answer = errand.operation("place", "POST", "/api/orders", "/api/orders", body)
    if answer.status in (201, 202) and answer.order_id:
        errand.shopper.order_ids.append(answer.order_id)


def track(errand: ShopperTask) -> None:
    """Look after one of one's own orders, or at the list of them."""
    order_id = own_order(errand)
    if order_id is None:
        errand.send("GET", "/api/orders?limit=20", "/api/orders", signed_in=True)
        return
    path = f"/api/orders/{order_id}"
    errand.operation("read", "GET", path, "/api/orders/{id}", order_id=order_id)


def cancel(errand: ShopperTask) -> None:
    """Cancel one of one's own orders; a shopper without one looks at the list instead."""
    order_id = own_order(errand)
    if order_id is None:
        track(errand)
        return
    errand.shopper.order_ids.remove(order_id)
    path = f"/api/orders/{order_id}/cancel"
    errand.operation("cancel", "POST", path, "/api/orders/{id}/cancel", order_id=order_id)


def register(errand: ShopperTask) -> None:
    """Open an account. Never the same one twice: an address stays taken, whatever the seed."""
    name = f"guest-{secrets.token_hex(8)}"
    body = {"email": f"{name}@example.com", "name": name, "password": secrets.token_urlsafe(16)}
    key = errand.store.log.new_logical_id()
    errand.send("POST", "/api/users", "/api/users", body=body, key=key, logical_id=key)


JOURNEYS: dict[str, Callable[[ShopperTask], None]] = {
    "list": list_products,
    "product": product,
    "search": search,
    "order": order,
    "track": track,
    "cancel": cancel,
    "register": register,
}


def popular_sku(rng: Random) -> str:
    """A product, the first ones far more often: the square of a uniform draw leans to 0."""
    return f"SKU-{1 + int(PRODUCTS * rng.random() ** 3):04d}"


def basket(rng: Random) -> list[dict[str, Any]]:
    """One to three different products, one or two of each."""
    skus = rng.sample(range(1, PRODUCTS + 1), rng.choice((1, 1, 2, 3)))
    return [{"sku": f"SKU-{number:04d}", "quantity": rng.choice((1, 1, 1, 2))} for number in skus]


def card(rng: Random) -> str:
    """Mostly a good card; a few are declined or have no money on them."""
    return rng.choices(list(CARDS), list(CARDS.values()))[0]


def own_order(errand: ShopperTask) -> str | None:
    ids = errand.shopper.order_ids
    return errand.rng.choice(list(ids)) if ids else None
