"""The public API as a table: for each public route, the service that answers and the conditions."""

from dataclasses import dataclass, field

from pydantic import BaseModel

from shop.gateway import public
from shop.gateway.admission import ACCOUNT, BROWSE, CHECKOUT


@dataclass(frozen=True, slots=True)
class Route:
    """One public route, forwarded unchanged to `service_path` of `service`.

    name           also names the setting of its deadline: place_order -> DEADLINE_PLACE_ORDER_S
    user, key      whether it requires a user's token, an Idempotency-Key
    idempotent     whether a failed attempt may be retried; None: decided by method and key
    deadline_s     seconds that the whole request may take
    query          parameters to document; others are forwarded too
    other_answers  status -> meaning, to document
    guessable      whether it checks a secret: refusals are limited by the customer's address
    priority       which requests are shed first under overload (admission.py)
    """

    name: str
    method: str
    path: str
    service: str
    service_path: str
    summary: str
    answer: type[BaseModel]
    status: int = 200
    body: type[BaseModel] | None = None
    user: bool = False
    key: bool = False
    idempotent: bool | None = None
    deadline_s: float = 2.0
    query: type[BaseModel] | None = None
    other_answers: dict[int, str] = field(default_factory=dict)
    guessable: bool = False
    priority: int = ACCOUNT

    @property
    def shared(self) -> bool:
        """A read with the same answer for all users: an old answer may replace a failed one."""
        return self.method == "GET" and not self.user


ROUTES = (
    Route("register", "POST", "/api/users", "users", "/users", "Register a user", public.User, 201,
          body=public.Registration, key=True, deadline_s=5, other_answers={409: "The address is taken."}),
    # a repeated login leaves one unused session, which is a fair price for a retry
    Route("login", "POST", "/api/login", "users", "/login", "Log in", public.Tokens,
          body=public.Credentials, idempotent=True, deadline_s=5,
          other_answers={401: "The address or the password is wrong."}, guessable=True,
          priority=CHECKOUT),
    # never retried: the second use of a refresh token ends the session
    Route("refresh", "POST", "/api/refresh", "users", "/refresh", "Exchange a refresh token for new tokens",
          public.Tokens, body=public.RefreshToken, idempotent=False,
          other_answers={401: "The refresh token is unknown, expired or used."}, guessable=True),
    Route("me", "GET", "/api/me", "users", "/me", "Read the token's user", public.User, user=True),
    Route("delete_me", "DELETE", "/api/me", "users", "/me", "Delete the token's user", public.User, user=True),
    Route("log_out", "POST", "/api/logout", "users", "/logout", "End the token's session", public.LoggedOut,
          user=True),
    Route("list_products", "GET", "/api/products", "products", "/products", "List and search products",
          public.ProductPage, query=public.Search, priority=BROWSE),
    Route("get_product", "GET", "/api/products/{product_id}", "products", "/products/{product_id}",
          "Read one product", public.Product, other_answers={404: "There is no such product."}, priority=BROWSE),
    Route("list_categories", "GET", "/api/categories", "products", "/categories",
          "List the categories with their product counts", public.Categories, priority=BROWSE),
    Route("place_order", "POST", "/api/orders", "orders", "/orders", "Place an order", public.Order, 201,
          body=public.PlaceOrder, user=True, key=True, deadline_s=5,
          other_answers={202: "The order is pending; the shop completes it.", 402: "The payment was declined.",
                         409: "A product is out of stock."},
          priority=CHECKOUT),
    Route("list_orders", "GET", "/api/orders", "orders", "/orders", "List the user's orders, newest first",
          public.OrderPage, user=True, query=public.Page),
    Route("cancel_order", "POST", "/api/orders/{order_id}/cancel", "orders", "/orders/{order_id}/cancel",
          "Cancel an order", public.Order, user=True, key=True, deadline_s=5,
          other_answers={202: "The cancellation is in progress.", 404: "The user has no such order."}),
)  # fmt: skip

# made of the answers of three services (order_details.py)
ORDER_DETAILS = Route("get_order", "GET", "/api/orders/{order_id}", "orders", "/orders/{order_id}",
                      "Read one order with its payment and mails", public.OrderDetails, user=True,
                      other_answers={404: "The user has no such order."})  # fmt: skip
