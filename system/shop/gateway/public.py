"""The models of the public API. Only the documentation uses them: the gateway does not parse bodies."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from chassis.http.body import Body
from chassis.http.paging import CURSOR_LENGTH_MAX, LIMIT_DEFAULT
from contracts import address

# not `pattern=`: pydantic has no look-ahead, and these models validate nothing
Email = Annotated[
    str, Field(max_length=address.LENGTH_MAX, json_schema_extra={"pattern": address.PATTERN})
]


class Registration(Body):
    email: Email = Field(examples=["ann@example.com"])
    name: str = Field(
        min_length=1,
        max_length=100,
        description="Printable characters, not only blanks.",
        examples=["Ann Carter"],
    )
    password: str = Field(min_length=8, max_length=128, examples=["a long passphrase"])


class Credentials(Body):
    email: Email = Field(examples=["user001@example.com"])
    password: str = Field(max_length=128, examples=["correct-horse-breakwater"])


class RefreshToken(Body):
    refresh_token: str = Field(max_length=200)


class Tokens(BaseModel):
    access_token: str
    token_type: str
    expires_in_s: int
    refresh_token: str


class User(BaseModel):
    id: str
    email: str
    name: str


class LoggedOut(BaseModel):
    session_ended: bool


class Product(BaseModel):
    id: str = Field(examples=["SKU-0001"])
    name: str
    description: str
    category: str
    price_cents: int
    currency: str
    version: int


class Page(BaseModel):
    """The query of a list."""

    limit: int = Field(LIMIT_DEFAULT, ge=1, le=100)
    cursor: str = Field(
        "",
        max_length=CURSOR_LENGTH_MAX,
        description="The next_cursor of the page before.",
        json_schema_extra={"format": "cursor"},
    )


class Search(Page):
    query: str = Field("", max_length=100, pattern=r"^[^\x00]*$", description="Words of products.")
    category: str = Field("", max_length=100, pattern=r"^[^\x00]*$")


class ProductPage(BaseModel):
    items: list[Product]
    next_cursor: str | None


class Category(BaseModel):
    name: str
    count: int


class Categories(BaseModel):
    items: list[Category]


class NewLine(Body):
    sku: str = Field(min_length=1, max_length=64, examples=["SKU-0001"])
    quantity: int = Field(ge=1, le=100, examples=[2])


class Card(Body):
    card_number: str = Field(pattern="^[0-9]{12,19}$", examples=["4242424242424242"])


class PlaceOrder(Body):
    lines: list[NewLine] = Field(min_length=1, max_length=20)
    payment: Card


class Line(BaseModel):
    sku: str
    quantity: int
    price_cents: int


class Order(BaseModel):
    id: str
    user_id: str
    status: Literal["pending", "confirmed", "cancelled"]
    reason: str
    lines: list[Line]
    total_cents: int
    currency: str
    created_at: datetime
    updated_at: datetime
    version: int


class OrderPage(BaseModel):
    items: list[Order]
    next_cursor: str | None


class Payment(BaseModel):
    id: str
    order_id: str
    status: str
    amount_cents: int
    captured_cents: int
    refunded_cents: int
    currency: str


class Mail(BaseModel):
    id: str
    kind: str
    order_id: str | None
    status: Literal["pending", "sent", "failed"]
    created_at: datetime
    sent_at: datetime | None


class OrderDetails(Order):
    payment: Payment | None
    mails: list[Mail]
    degraded: list[str] = Field(description="The parts that could not be read now.")


def inline_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The model's JSON schema without references, so that it is valid anywhere in a document."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})

    def resolve(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                return resolve(definitions[node["$ref"].rpartition("/")[2]])
            return {name: resolve(value) for name, value in node.items()}
        return [resolve(item) for item in node] if isinstance(node, list) else node

    resolved: dict[str, Any] = resolve(schema)
    return resolved
