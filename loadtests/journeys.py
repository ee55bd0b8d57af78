"""The journeys of shoppers: one function each. Edit them, copy them, add your own.

`task.rng` makes every random choice, so the same seed gives the same choices.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from random import Random
from typing import Any
from urllib.parse import quote

from lab.load.shopper_task import ShopperTask
from lab.load.storefront import Request

PRODUCTS = 1000  # SKU-0001 ... SKU-1000, as the catalogue is seeded
CARDS = {"4242424242424242": 0.95, "4000000000000002": 0.03, "4000000000009995": 0.02}
WORDS = ("lamp", "chair", "mug", "blue", "oak", "travel", "mini", "classic", "kitchen", "garden")


def list_products(task: ShopperTask) -> None:
    """Look at a page of the catalogue: 20 products, sometimes 50."""
    limit = task.rng.choice((20, 20, 50))
    task.send(Request("GET", f"/api/products?limit={limit}", "/api/products"))


def product(task: ShopperTask) -> None:
    """Open a product's page; a few products get most of the visits."""
    path = f"/api/products/{popular_sku(task.rng)}"
    task.send(Request("GET", path, "/api/products/{id}"))


def search(task: ShopperTask) -> None:
    """Search the catalogue for a word."""
    word = quote(task.rng.choice(WORDS))
    task.send(Request("GET", f"/api/products?query={word}&limit=20", "/api/products"))


def order(task: ShopperTask) -> None:
    """Place an order; repeat it with the same key while its outcome is unknown."""
    body = {"lines": basket(task.rng), "payment": {"card_number": card(task.rng)}}
    answer = task.operation("place", Request("POST", "/api/orders", "/api/orders", body))
    if answer.status in (201, 202) and answer.order_id:
        task.shopper.order_ids.append(answer.order_id)


def track(task: ShopperTask) -> None:
    """Look at an own order; a shopper without one looks at the list."""
    order_id = own_order(task)
    if order_id is None:
        task.send(Request("GET", "/api/orders?limit=20", "/api/orders"), signed_in=True)
        return
    path = f"/api/orders/{order_id}"
    task.operation("read", Request("GET", path, "/api/orders/{id}", order_id=order_id))


def cancel(task: ShopperTask) -> None:
    """Cancel an own order; a shopper without one looks at the list."""
    order_id = own_order(task)
    if order_id is None:
        track(task)
        return
    task.shopper.order_ids.remove(order_id)
    path = f"/api/orders/{order_id}/cancel"
    request = Request("POST", path, "/api/orders/{id}/cancel", order_id=order_id)
    task.operation("cancel", request)


def register(task: ShopperTask) -> None:
    """Open a new account. Its address is random: the shop refuses one that exists, whatever the seed."""
    name = f"guest-{secrets.token_hex(8)}"
    body = {"email": f"{name}@example.com", "name": name, "password": secrets.token_urlsafe(16)}
    key = task.store.log.new_logical_id()
    task.send(Request("POST", "/api/users", "/api/users", body, logical_id=key, key=key))


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
    """A product; the first ones are far more frequent: the cube of a uniform number is mostly small."""
    return f"SKU-{1 + int(PRODUCTS * rng.random() ** 3):04d}"


def basket(rng: Random) -> list[dict[str, Any]]:
    """One to three different products, one or two of each."""
    skus = rng.sample(range(1, PRODUCTS + 1), rng.choice((1, 1, 2, 3)))
    return [{"sku": f"SKU-{number:04d}", "quantity": rng.choice((1, 1, 1, 2))} for number in skus]


def card(rng: Random) -> str:
    """Mostly a valid card; a few are declined or lack funds."""
    return rng.choices(list(CARDS), list(CARDS.values()))[0]


def own_order(task: ShopperTask) -> str | None:
    ids = task.shopper.order_ids
    return task.rng.choice(list(ids)) if ids else None
