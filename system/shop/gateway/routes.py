"""The public API as a table: what is asked outside, who answers inside, and on what conditions."""

from dataclasses import dataclass, field

from pydantic import BaseModel

from shop.gateway import public
from shop.gateway.admission import ACCOUNT, BROWSE, CHECKOUT


@dataclass(frozen=True, slots=True)
class Route:
    """One public route, passed on to `inner` of `service` as it came.

    name        of its deadline's setting: place_order -> DEADLINE_PLACE_ORDER_S
    user        only with a user's token; key: only with an Idempotency-Key
    repeatable  whether a failed attempt may be repeated; None: if the method or the key allows it
    deadline_s  seconds that the whole request may take
    query       parameters to document; all are passed on
    refusals    status -> when, to document
    priority    who is let in first when not all can be (admission.py)
    """

    name: str
    method: str
    path: str
    service: str
    inner: str
    summary: str
    answer: type[BaseModel]
    status: int = 200
    body: type[BaseModel] | None = None
    user: bool = False
    key: bool = False
    repeatable: bool | None = None
    deadline_s: float = 2.0
    query: tuple[str, ...] = ()
    refusals: dict[int, str] = field(default_factory=dict)
    priority: int = ACCOUNT

    @property
    def public(self) -> bool:
        """A safe read that is the same for everybody: the last answer may stand in for a new one."""
        return self.method == "GET" and not self.user


_PAGE = ("limit", "cursor")

ROUTES = (
    Route("register", "POST", "/api/users", "users", "/users", "Register", public.User, 201,
          body=public.Registration, key=True, deadline_s=5, refusals={409: "the address is taken"}),
    # a login that is repeated leaves a session nobody uses; that is worth a second attempt
    Route("login", "POST", "/api/login", "users", "/login", "Log in", public.Tokens,
          body=public.Credentials, repeatable=True, deadline_s=5, refusals={401: "wrong address or password"},
          priority=CHECKOUT),
    # never twice: the second use of a refresh token ends the session
    Route("refresh", "POST", "/api/refresh", "users", "/refresh", "Trade a refresh token for new tokens",
          public.Tokens, body=public.RefreshToken, repeatable=False, refusals={401: "unknown, expired or used"}),
    Route("me", "GET", "/api/me", "users", "/me", "The user of the token", public.User, user=True),
    Route("list_products", "GET", "/api/products", "products", "/products", "Browse and search",
          public.ProductPage, query=("query", "category", *_PAGE), priority=BROWSE),
    Route("get_product", "GET", "/api/products/{product_id}", "products", "/products/{product_id}",
          "One product", public.Product, refusals={404: "no such product"}, priority=BROWSE),
    Route("list_categories", "GET", "/api/categories", "products", "/categories",
          "Categories with counts", public.Categories, priority=BROWSE),
    Route("place_order", "POST", "/api/orders", "orders", "/orders", "Place an order", public.Order, 201,
          body=public.PlaceOrder, user=True, key=True, deadline_s=5,
          refusals={202: "pending: the order goes on by itself", 402: "payment declined", 409: "out of stock"},
          priority=CHECKOUT),
    Route("list_orders", "GET", "/api/orders", "orders", "/orders", "The user's orders, newest first",
          public.OrderPage, user=True, query=_PAGE),
    Route("cancel_order", "POST", "/api/orders/{order_id}/cancel", "orders", "/orders/{order_id}/cancel",
          "Cancel an order", public.Order, user=True, key=True, deadline_s=5,
          refusals={202: "cancellation under way", 404: "no such order of this user"}),
)  # fmt: skip
