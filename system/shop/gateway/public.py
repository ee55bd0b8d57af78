"""The models of the public API. Only the documentation uses them: the gateway does not parse bodies."""

from typing import Any

from pydantic import BaseModel, Field


class Registration(BaseModel):
    email: str = Field(examples=["ann@example.com"])
    name: str = Field(examples=["Ann Carter"])
    password: str = Field(min_length=8, max_length=128, examples=["a long passphrase"])


class Credentials(BaseModel):
    email: str = Field(examples=["user001@example.com"])
    password: str = Field(examples=["correct-horse-breakwater"])


class RefreshToken(BaseModel):
    refresh_token: str


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


class ProductPage(BaseModel):
    items: list[Product]
    next_cursor: str | None


class Category(BaseModel):
    name: str
    count: int


class Categories(BaseModel):
    items: list[Category]


class NewLine(BaseModel):
    sku: str = Field(examples=["SKU-0001"])
    quantity: int = Field(ge=1, le=100, examples=[2])


class Card(BaseModel):
    card_number: str = Field(examples=["4242424242424242"])


class PlaceOrder(BaseModel):
    lines: list[NewLine] = Field(min_length=1, max_length=20)
    payment: Card


class Line(BaseModel):
    sku: str
    quantity: int
    price_cents: int


class Order(BaseModel):
    id: str
    user_id: str
    status: str = Field(description="One of pending, confirmed, cancelled.")
    reason: str | None
    lines: list[Line]
    total_cents: int
    currency: str
    created_at: str
    updated_at: str
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
    status: str = Field(description="One of pending, sent, failed.")
    created_at: str
    sent_at: str | None


class OrderDetails(Order):
    payment: Payment | None
    mails: list[Mail]
    degraded: list[str] = Field(description="The parts that could not be read now.")


class ProblemDetails(BaseModel):
    """An error answer (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    trace_id: str


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
