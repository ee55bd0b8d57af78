"""What simulated shoppers asked and saw: the columns `asked` and `seen`, and the journeys that check the shop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Row = dict[str, Any]
CHECKS = 15  # requests of each kind
AFTER_S = 47.0  # the checks come after the fault, each kind every half second
GOOD, DECLINED = "4242424242424242", "4000000000000002"


def add_shoppers(tables: dict[str, list[Row]], state: dict[str, list[Row]], start_s: float) -> None:
    """Fill in what the requests of a simulated run asked and saw, and add requests that check the shop."""
    orders = {order["order_id"]: order for order in state["orders.orders"]}
    for row in tables["requests"]:
        _fill_in(row, orders, state)
    done = [
        row
        for row in tables["requests"]
        if row["status"] == 201
        and row["end_s"] < start_s + 46
        and orders[row["order_id"]]["status"] == "confirmed"
    ]
    for number, placed in enumerate(done[-CHECKS:]):
        at = start_s + AFTER_S + 0.5 * number
        for offset, row in enumerate(_checks(placed, at, orders, state)):
            came = at + 0.01 * offset
            times = {"intended_start_s": came, "actual_start_s": came, "end_s": came + 0.008}
            seq = len(tables["requests"])
            ids = {"seq": seq, "logical_id": f"check-{seq}", "request_id": f"{seq:032x}"}
            tables["requests"].append(_BLANK | {"session": placed["session"]} | times | ids | row)
            tables["spans"].append(_span(tables["requests"][-1]))
            if row["route"] == "GET /api/orders/{id}":
                tables["history"] += _read(tables["requests"][-1])


_BLANK: Row = {
    **{"arm": "control", "attempt_no": 1, "outcome": "ok", "error": None, "bytes": 400},
    **{"idempotency_key": None, "order_id": None, "version": None, "dropped": False},
    **{"expected": None, "asked": None, "seen": None},
}


def _span(row: Row) -> Row:
    """The span of the gateway for a request."""
    return {
        **{"trace_id": row["request_id"], "span_id": row["request_id"][16:], "parent_span_id": ""},
        **{"service": "gateway", "instance": "gateway-1", "arm": "control", "name": row["route"]},
        **{"kind": "server", "http_route": row["route"], "http_status": row["status"]},
        **{"start_ns": int(row["actual_start_s"] * 1e9), "end_ns": int(row["end_s"] * 1e9)},
        **{"status": "unset", "attributes": {}},
    }


def _read(row: Row) -> list[Row]:
    """The begin and the end of the operation in the history."""
    process, order_id = f"{row['session']}/{row['logical_id']}", row["order_id"]
    ends = (("invoke", row["actual_start_s"]), ("ok", row["end_s"]))
    return [
        {"process": process, "type": kind, "f": "read", "key": order_id, "value": "{}"}
        | {"time_s": time_s, "error": None}
        for kind, time_s in ends
    ]


def _fill_in(row: Row, orders: dict[str, Row], state: dict[str, list[Row]]) -> None:
    row |= {"expected": None, "asked": None, "seen": None}
    if row["route"] == "GET /api/products":
        row["seen"] = {"skus": ["SKU-0001"], "more": True}
    elif row["route"] == "GET /api/products/{id}":
        product = state["products.products"][row["seq"] % 10]
        row["seen"] = {"sku": product["id"], "price_cents": product["price_cents"]}
    elif row["order_id"] in orders:
        order = orders[row["order_id"]]
        lines = _lines(order, state)
        if row["route"] == "POST /api/orders":
            card = GOOD if order["card_last4"] == GOOD[-4:] else DECLINED
            row["asked"] = {"lines": [line[:2] for line in lines], "card": card}
        if row["status"] < 400:
            pending = {"status": "pending", "version": 1} if row["status"] == 202 else {}
            row["seen"] = _shown(_as_of(order, row["end_s"]), lines) | pending


def _as_of(order: Row, when_s: float) -> Row:
    """The order before its cancellation by the customer, if that came later."""
    later = order["reason"] == "customer" and order["updated_at"] > when_s
    return order | {"status": "confirmed", "version": 2} if later else order


def _shown(order: Row, lines: list[list[Any]]) -> Row:
    names = ("order_id", "user_id", "status", "version", "total_cents", "currency")
    return {name: order[name] for name in names} | {"lines": lines}


def _lines(order: Row, state: dict[str, list[Row]]) -> list[list[Any]]:
    return [
        [line["sku"], line["quantity"], line["price_cents"]]
        for line in state["orders.lines"]
        if line["order_id"] == order["order_id"]
    ]


def _checks(
    placed: Row, before_s: float, orders: dict[str, Row], state: dict[str, list[Row]]
) -> Iterator[Row]:
    """One shopper's requests that check the shop, all answered rightly."""
    order = orders[placed["order_id"]]
    own = [each for each in orders.values() if each["email"].split("@")[0] == placed["session"]]
    own = [each for each in own if each["created_at"] < before_s]
    shown = _shown(order, _lines(order, state))
    payment = {"order_id": order["order_id"], "amount_cents": order["total_cents"]}
    page = {"paid": payment, "mails": [[order["order_id"], "order_confirmed"]]}
    order_id = {"order_id": order["order_id"]}
    yield _get("/api/orders/{id}", seen=shown | page, **order_id)
    listed = [
        _shown(_as_of(each, before_s), [])
        for each in sorted(own, key=lambda each: each["order_id"])
    ]
    for each in listed:
        del each["lines"]
    yield _get("/api/orders", seen={"orders": listed[-20:], "more": len(listed) > 20})
    yield _get(
        "/api/orders/{id} (foreign)", 404, error="order-not-found", session="user000", **order_id,
        asked={"owner": placed["session"]},
    )  # fmt: skip
    yield _get(
        "/api/products", asked={"sku": "SKU-0003"}, seen={"skus": ["SKU-0003"], "more": False}
    )
    key = {"idempotency_key": placed["idempotency_key"], "asked": placed["asked"]}
    repeated = {"route": "POST /api/orders (repeated)", "method": "POST", "status": 201}
    yield repeated | key | order_id | {"seen": shown | {"replayed": True}}
    for route, status, error in (
        ("/api/login (wrong password)", 401, "bad-credentials"),
        ("/api/orders (key reused)", 422, "key-reused"),
        ("/api/orders (unknown product)", 422, "unknown-sku"),
    ):
        asked = {"lines": [["SKU-0001", 1]], "card": GOOD}
        yield {"route": f"POST {route}", "method": "POST", "status": status, "expected": status,
               "error": error, "asked": asked}  # fmt: skip


def _get(route: str, status: int = 200, **more: Any) -> Row:
    expected = None if status == 200 else status
    return {"route": f"GET {route}", "method": "GET", "status": status, "expected": expected} | more
