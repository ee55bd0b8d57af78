"""The facts that the request log keeps of requests and answers."""

from lab.load.facts import asked, seen

ORDER = {
    "id": "o1", "user_id": "u1", "status": "confirmed", "reason": "", "version": 2, "total_cents": 700,
    "currency": "EUR", "created_at": "x", "lines": [{"sku": "SKU-0001", "quantity": 2, "price_cents": 350}],
}  # fmt: skip
PLACED = {
    "lines": [{"sku": "SKU-0001", "quantity": 2}],
    "payment": {"card_number": "4242424242424242"},
}


def test_an_order_is_asked_with_lines_and_card_and_seen_with_lines_total_and_state() -> None:
    assert asked(PLACED) == {"lines": [["SKU-0001", 2]], "card": "4242424242424242"}
    facts = seen(ORDER, replayed=True)
    assert facts is not None
    assert facts["lines"] == [["SKU-0001", 2, 350]]
    assert (facts["order_id"], facts["user_id"], facts["total_cents"]) == ("o1", "u1", 700)
    assert facts["replayed"] is True


def test_an_order_page_has_its_payment_and_the_orders_of_its_mails() -> None:
    payment = {"order_id": "o1", "amount_cents": 700, "id": "p1"}
    mails = [{"order_id": "o1", "kind": "order_confirmed", "id": "m1"}]
    facts = seen({**ORDER, "payment": payment, "mails": mails, "degraded": []})
    assert facts is not None
    assert facts["paid"] == {"order_id": "o1", "amount_cents": 700}
    assert facts["mails"] == [["o1", "order_confirmed"]]


def test_pages_have_their_ids_and_whether_there_is_more() -> None:
    assert seen({"items": [], "next_cursor": None}) == {"skus": [], "more": False}
    page = {"items": [{"id": "SKU-0001", "price_cents": 350}], "next_cursor": "c"}
    assert seen(page) == {"skus": ["SKU-0001"], "more": True}
    orders = seen({"items": [ORDER], "next_cursor": None})
    assert orders is not None
    assert [each["order_id"] for each in orders["orders"]] == ["o1"]


def test_passwords_and_tokens_are_not_kept() -> None:
    assert asked({"email": "a@example.com", "password": "secret"}) == {"email": "a@example.com"}
    assert seen({"access_token": "secret", "refresh_token": "secret"}) == {"logged_in": True}


def test_a_problem_and_an_answer_without_json_have_no_facts() -> None:
    assert seen({"type": "urn:problem:order-not-found", "title": "Order not found"}) is None
    assert seen(None) is None
