"""The journeys of shoppers: one function each. Edit them, copy them, add your own.

`task.rng` makes every random choice, so the same seed gives the same choices. The journeys below
`list_own` check the shop: after a run, the invariants compare their answers with the databases. A
request that must be refused has a route of its own, so that it is in no SLI of proper requests.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any
from urllib.parse import quote

from lab.load.request_log import now_s
from lab.load.shopper import Placed
from lab.load.shopper_task import ShopperTask
from lab.load.storefront import Request

PRODUCTS = 1000  # SKU-0001 ... SKU-1000, as the catalogue is seeded
SCARCE = range(991, 1001)  # products of which the shop has few
UNKNOWN_SKU = "SKU-9999"
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
    place(task, basket(task.rng))


def bargain(task: ShopperTask) -> None:
    """Order three of the six products of a sale, as everyone else does."""
    numbers = task.rng.sample(range(1, 7), 3)
    place(task, [{"sku": f"SKU-{number:04d}", "quantity": 1} for number in numbers])


def place(task: ShopperTask, lines: list[dict[str, Any]]) -> None:
    body = {"lines": lines, "payment": {"card_number": card(task.rng)}}
    key = task.store.log.new_logical_id()
    request = Request("POST", "/api/orders", "/api/orders", body, logical_id=key)
    answer = task.operation("place", request)
    if answer.status in (201, 202) and answer.order_id:
        task.shopper.orders.append(Placed(answer.order_id, key, body))


def track(task: ShopperTask) -> None:
    """Look at an own order, which may be cancelled; a shopper without one looks at the list."""
    order = own_order(task)
    if order is None:
        list_own(task)
        return
    path = f"/api/orders/{order.order_id}"
    task.operation("read", Request("GET", path, "/api/orders/{id}", order_id=order.order_id))


def cancel(task: ShopperTask) -> None:
    """Cancel an own order; a shopper without one looks at the list."""
    order = own_order(task, to_cancel=True)
    if order is None:
        track(task)
        return
    order.cancelled = True
    path = f"/api/orders/{order.order_id}/cancel"
    request = Request("POST", path, "/api/orders/{id}/cancel", order_id=order.order_id)
    task.operation("cancel", request)


def register(task: ShopperTask) -> None:
    """Open a new account."""
    task.send(new_account(task))


def list_own(task: ShopperTask) -> None:
    """Look at the list of own orders, in which each acknowledged one must be."""
    task.send(Request("GET", "/api/orders?limit=20", "/api/orders"), signed_in=True)


def find(task: ShopperTask) -> None:
    """Open a product's page, then search for its whole name: the search must find it."""
    sku = popular_sku(task.rng)
    page = task.send(Request("GET", f"/api/products/{sku}", "/api/products/{id}"))
    if page.status == 200:
        path = f"/api/products?query={quote(str(page.body['name']))}&limit=100"
        search = Request("GET", path, "/api/products", asked={"sku": sku})
        task.send(search, intended_s=now_s())


def repeat(task: ShopperTask) -> None:
    """Send an own order again with its key, as after a lost answer: it must be the same order."""
    order = own_order(task)
    if order is None:
        list_own(task)
        return
    route = "/api/orders (repeated)"
    task.send(
        Request("POST", "/api/orders", route, order.body, order.order_id, key=order.key),
        signed_in=True,
    )


def register_again(task: ShopperTask) -> None:
    """Open an account and send the same request again: the answer must be the same."""
    request = new_account(task)
    if task.send(request).status == 201:
        request = replace(request, logical_id=task.store.log.new_logical_id())
        task.send(request, intended_s=now_s())


def reuse_key(task: ShopperTask) -> None:
    """Use the key of an own order for another order: it must be refused."""
    order = own_order(task)
    if order is None:
        list_own(task)
        return
    refused(task, "key reused", order_of("SKU-0001", 3), 422, key=order.key)


def unknown_product(task: ShopperTask) -> None:
    """Order a product that does not exist: it must be refused as unknown."""
    refused(task, "unknown product", order_of(UNKNOWN_SKU, 1), 422)


def too_many(task: ShopperTask) -> None:
    """Order more of a scarce product than the shop ever had: it must be refused."""
    refused(task, "too many", order_of(f"SKU-{task.rng.choice(SCARCE):04d}", 100), 409)


def read_foreign(task: ShopperTask) -> None:
    """Look at an order of another shopper: to this one it must not exist."""
    others = [each for each in task.shoppers if each is not task.shopper and each.orders]
    if not others:
        list_own(task)
        return
    owner = task.rng.choice(others)
    order_id = task.rng.choice(list(owner.orders)).order_id
    path, route = f"/api/orders/{order_id}", "/api/orders/{id} (foreign)"
    asked = {"owner": owner.name}
    task.send(
        Request("GET", path, route, order_id=order_id, expected=404, asked=asked), signed_in=True
    )


def wrong_password(task: ShopperTask) -> None:
    """Log in to an own account with a wrong password: it must be refused."""
    body = {"email": task.shopper.email, "password": "incorrect-horse"}
    task.send(Request("POST", "/api/login", "/api/login (wrong password)", body, expected=401))


JOURNEYS: dict[str, Callable[[ShopperTask], None]] = {
    "list": list_products,
    "product": product,
    "search": search,
    "order": order,
    "bargain": bargain,
    "track": track,
    "cancel": cancel,
    "register": register,
    "list_own": list_own,
    "find": find,
    "repeat": repeat,
    "register_again": register_again,
    "reuse_key": reuse_key,
    "unknown_product": unknown_product,
    "too_many": too_many,
    "read_foreign": read_foreign,
    "wrong_password": wrong_password,
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


def own_order(task: ShopperTask, *, to_cancel: bool = False) -> Placed | None:
    orders = [each for each in task.shopper.orders if not (to_cancel and each.cancelled)]
    return task.rng.choice(orders) if orders else None


def order_of(sku: str, quantity: int) -> dict[str, Any]:
    """The body of an order of one line."""
    lines = [{"sku": sku, "quantity": quantity}]
    return {"lines": lines, "payment": {"card_number": next(iter(CARDS))}}


def refused(task: ShopperTask, why: str, body: Any, status: int, key: str = "") -> None:
    """Send an order that the shop must refuse with `status`."""
    key = key or task.store.log.new_logical_id()
    route = f"/api/orders ({why})"
    task.send(Request("POST", "/api/orders", route, body, key=key, expected=status), signed_in=True)


def new_account(task: ShopperTask) -> Request:
    """A registration. Its address is random: the shop refuses one that exists, whatever the seed."""
    name = f"guest-{secrets.token_hex(8)}"
    body = {"email": f"{name}@example.com", "name": name, "password": secrets.token_urlsafe(16)}
    key = task.store.log.new_logical_id()
    return Request("POST", "/api/users", "/api/users", body, logical_id=key, key=key)
