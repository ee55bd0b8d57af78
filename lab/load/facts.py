"""The facts of a request and of its answer that an auditor needs, for the columns `asked` and `seen`.

The request log does not keep whole bodies. It never keeps a password or a token.
"""

from __future__ import annotations

from typing import Any

_SECRET = frozenset({"password", "access_token", "refresh_token"})
_ORDER = ("user_id", "status", "reason", "version", "total_cents", "currency")


def asked(body: Any) -> dict[str, Any] | None:
    """The facts of a request's body: of an order its lines [[sku, quantity]] and its card."""
    if not isinstance(body, dict):
        return None
    if "lines" in body:
        lines = [[line["sku"], line["quantity"]] for line in body["lines"]]
        return {"lines": lines, "card": body["payment"]["card_number"]}
    return {name: value for name, value in body.items() if name not in _SECRET} or None


def seen(body: Any, replayed: bool = False) -> dict[str, Any] | None:
    """The facts of an answer's body: an order, a list of orders, a product, a page of products or an account."""
    if not isinstance(body, dict) or "title" in body:
        return None  # no JSON, or a problem: the column `error` names it
    if "lines" in body:
        facts = _order(body)
        facts |= {"replayed": True} if replayed else {}
    elif isinstance(items := body.get("items"), list):
        if any("lines" in item for item in items):
            facts = {"orders": [_order(item, lines=False) for item in items]}
        else:
            facts = {"skus": [item.get("id") for item in items]}
        facts["more"] = body.get("next_cursor") is not None
    elif "price_cents" in body:
        facts = {"sku": body.get("id"), "price_cents": body["price_cents"]}
    elif "access_token" in body:
        facts = {"logged_in": True}
    else:
        facts = {name: body[name] for name in ("id", "email") if name in body}
    return facts


def _order(body: dict[str, Any], lines: bool = True) -> dict[str, Any]:
    facts = {"order_id": body.get("id")} | {name: body[name] for name in _ORDER if name in body}
    if lines:
        names = ("sku", "quantity", "price_cents")
        facts["lines"] = [[line.get(name) for name in names] for line in body["lines"]]
    if payment := body.get("payment"):
        facts["paid"] = {
            name: payment[name]
            for name in ("order_id", "status", "amount_cents", "captured_cents", "refunded_cents")
            if name in payment
        }
    if "mails" in body:
        facts["mails"] = [[mail.get("order_id"), mail.get("kind")] for mail in body["mails"]]
    return facts
