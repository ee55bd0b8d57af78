"""What shoppers saw: a bug in an answer is convicted, and an answer that a fault explains is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from lab.analysis.consistency import INVARIANTS, Result, check_all
from lab.archive import Run
from tests.lab.analysis.simulation import FAULT, START_S
from tests.lab.archive.parquet import write_parquet

Row = dict[str, Any]
Change = Callable[[Row], Row]
Archive = Callable[..., Path]
READS, LISTS, PAGES, REPEATS, FORBIDDEN, REFUSALS, UNHANDLED = (
    next(each.id for each in INVARIANTS.values() if each.find.__name__ == name)
    for name in (
        "orders_are_shown_as_they_were", "lists_are_complete", "pages_show_the_catalogue",
        "repeats_get_the_same_answer", "the_forbidden_is_refused", "refusals_are_true",
        "no_unhandled_errors",
    )
)  # fmt: skip
PAGE, LIST = "GET /api/orders/{id}", "GET /api/orders"
PLACE, PASSWORD = "POST /api/orders", "POST /api/login (wrong password)"
FOREIGN, REPEATED = "GET /api/orders/{id} (foreign)", "POST /api/orders (repeated)"
SEARCH, UNKNOWN = "GET /api/products", "POST /api/orders (unknown product)"


def changed(path: Path, route: str, change: Change, every: bool = False) -> Run:
    """The archive with the last row of a route changed, or every row of it."""
    file = path / "requests.ndjson"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    chosen = [n for n, row in enumerate(rows) if row.get("route") == route and row["status"] > 0]
    for n in chosen if every else chosen[-1:]:
        rows[n] = rows[n] | change(rows[n])
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Run(path)


def shows(**facts: Any) -> Change:
    return lambda row: {"seen": row["seen"] | facts}


def answers(status: int, **more: Any) -> Change:
    return lambda row: {"status": status, "seen": {} if status < 300 else None} | more


def result_of(run: Run, number: int) -> Result:
    [found] = check_all(run, [number])
    return found


BUGS: dict[str, tuple[int, str, Change, str]] = {
    "another customer's order": (
        READS, PAGE, lambda row: {"session": "user000"}, "another customer"),
    "another customer's order in a list": (
        READS, LIST, lambda row: {"session": "user000"}, "another customer"),
    "another total": (READS, PAGE, shows(total_cents=1), "facts"),
    "other lines": (READS, PAGE, shows(lines=[["SKU-0001", 9, 9]]), "facts"),
    "another payment": (
        READS, PAGE, shows(paid={"order_id": "x", "amount_cents": 1}), "facts"),
    "another order's mail": (READS, PAGE, shows(mails=[["x", "order_confirmed"]]), "facts"),
    "pending after its end": (READS, PAGE, shows(status="pending"), "state"),
    "cancelled, and it never was": (READS, PAGE, shows(status="cancelled"), "state"),
    "an older version": (READS, PAGE, shows(version=1), "older version"),
    "vanished": (READS, PAGE, answers(404, error="order-not-found"), "unknown"),
    "missing in the list": (LISTS, LIST, shows(orders=[], more=False), "not in the list"),
    "another price on the page": (
        PAGES, "GET /api/products/{id}", shows(price_cents=1), "another price"),
    "not found": (PAGES, SEARCH, shows(skus=[]), "does not find"),
    "a second order for the key": (REPEATS, REPEATED, shows(order_id="o2"), "another answer"),
    "a refused repeat": (REPEATS, REPEATED, answers(409, error="email-taken"), "another answer"),
    "a wrong password accepted": (
        FORBIDDEN, PASSWORD, answers(200, seen={"logged_in": True}), "accepted"),
    "another order accepted": (FORBIDDEN, FOREIGN, answers(200), "accepted"),
    "forbidden, not unknown": (FORBIDDEN, FOREIGN, answers(403), "another reason"),
    "a good card declined": (
        REFUSALS, PLACE, answers(402, error="payment-declined"), "the card is good"),
    "out of stock": (REFUSALS, PLACE, answers(409, error="out-of-stock"), "was in stock"),
    "a proper order refused": (
        REFUSALS, PLACE, answers(422, error="invalid-request"), "proper request"),
    "unknown product called busy": (
        REFUSALS, UNKNOWN, answers(503, outcome="fail", error="unknown-sku"), "another reason"),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS)
def test_a_wrong_answer_is_convicted_with_its_trace(archive: Archive, bug: str) -> None:
    number, route, change, problem = BUGS[bug]
    found = result_of(changed(archive(), route, change), number)
    assert found.status == "violated"
    assert found.violations >= 1
    assert any(problem in each["problem"] and each["trace_id"] for each in found.examples), found


def test_a_declined_card_that_is_confirmed_is_convicted(archive: Archive) -> None:
    bad = {"lines": [["SKU-0001", 1]], "card": "4000000000000002"}
    run = changed(archive(), REPEATED, lambda row: {"asked": bad})
    assert "declines the card" in result_of(run, REFUSALS).examples[0]["problem"]


@pytest.mark.parametrize("status", [0, 429, 503])
def test_answers_that_failed_are_not_judged_here(archive: Archive, status: int) -> None:
    path = archive()
    for route in (PAGE, LIST, PLACE, FOREIGN, PASSWORD, REPEATED):
        run = changed(path, route, answers(status, outcome="unknown", error="x"))
    assert {each.status for each in check_all(run)} == {"ok"}


def test_a_refusal_that_always_fails_while_the_rest_does_not_is_convicted(archive: Archive) -> None:
    run = changed(archive(), UNKNOWN, answers(503, outcome="fail", error="call-failed"), every=True)
    assert "fails always" in result_of(run, FORBIDDEN).examples[0]["problem"]


def test_a_refusal_during_a_fault_is_explained_by_it(archive: Archive) -> None:
    path = archive()
    during = {"actual_start_s": START_S + FAULT[0] + 1, "end_s": START_S + FAULT[0] + 2}
    run = changed(path, PLACE, lambda row: answers(422, error="invalid-request")(row) | during)
    assert result_of(run, REFUSALS).status == "ok"


def test_the_old_state_is_possible_until_the_event_of_the_new_one_was_published(
    archive: Archive,
) -> None:
    path = archive()
    outbox = duckdb.read_parquet(str(path / "state/orders.outbox.parquet"))
    confirmed = outbox.filter("type = 'OrderConfirmed'")
    ended = dict(confirmed.project("aggregate_id, epoch(published_at)").fetchall())

    def pending_at(offset_s: float) -> Change:
        return lambda row: {
            "seen": row["seen"] | {"status": "pending", "version": 2},
            "actual_start_s": ended[row["order_id"]] + offset_s,
            "end_s": ended[row["order_id"]] + offset_s + 0.5,
        }

    assert result_of(changed(path, PAGE, pending_at(0.1)), READS).status == "ok"
    assert result_of(changed(path, PAGE, pending_at(0.5)), READS).status == "violated"


def test_a_full_list_must_have_only_the_newer_orders(archive: Archive) -> None:
    run = changed(archive(), LIST, lambda row: {
        "seen": {"orders": row["seen"]["orders"][-1:], "more": True}})  # fmt: skip
    assert result_of(run, LISTS).status == "ok"


def test_out_of_stock_is_true_if_it_may_have_been(archive: Archive) -> None:
    asked = {"lines": [["SKU-0001", 501]], "card": "4242424242424242"}
    run = changed(archive(), PLACE, answers(409, error="out-of-stock", asked=asked))
    assert result_of(run, REFUSALS).status == "ok"


@pytest.mark.parametrize("column", ["asked", "seen"])
def test_an_archive_without_what_shoppers_asked_and_saw_is_no_data(
    archive: Archive, column: str
) -> None:
    run = changed(archive(), PLACE, lambda row: {column: None}, every=True)
    for number in (READS, LISTS, PAGES, REPEATS, FORBIDDEN, REFUSALS):
        found = result_of(run, number)
        assert (found.status, f"{column}" in found.detail) == ("no_data", True)


LINE = {
    **{"time_s": START_S + 30, "level": "error", "service": "orders", "instance": "orders-1"},
    **{"message": "unhandled exception KeyError", "trace_id": "a" * 32},
    "attributes": {"exception": "Traceback ...\nKeyError: 'sku'"},
}
SPAN = {
    **{"trace_id": "b" * 32, "span_id": "1", "parent_span_id": "", "service": "gateway"},
    **{"instance": "gateway-1", "kind": "server", "http_method": "GET", "http_route": "/api/me"},
    **{"http_status": 500, "start_ns": 10**18, "end_ns": 10**18 + 1},
}


def appended(path: Path, table: str, *rows: Row) -> Run:
    with (path / f"{table}.ndjson").open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return Run(path)


def test_an_error_line_is_convicted_with_its_message_and_trace(archive: Archive) -> None:
    found = result_of(appended(archive(), "logs", LINE, LINE | {"trace_id": "c" * 32}), UNHANDLED)
    assert (found.status, found.violations) == ("violated", 1)  # one message, two lines
    assert found.examples[0]["lines"] == 2
    assert found.examples[0]["trace_id"] == "a" * 32
    assert found.examples[0]["exception"] == "KeyError: 'sku'"


@pytest.mark.parametrize(
    "more",
    [
        {"level": "warning"},
        {"service": "lab"},
        {"service": "nginx"},
        {"message": "dead letter OrderCancelled: PoisonedError: message 3 is poisoned"},
    ],
)
def test_a_warning_a_line_of_the_lab_and_an_injected_error_are_no_violations(
    archive: Archive, more: Row
) -> None:
    assert result_of(appended(archive(), "logs", LINE | more), UNHANDLED).status == "ok"


def test_a_500_is_convicted_at_the_service_that_caused_it(archive: Archive) -> None:
    client = SPAN | {"span_id": "2", "parent_span_id": "1", "kind": "client"}
    inner = SPAN | {"span_id": "3", "parent_span_id": "2", "service": "orders"}
    found = result_of(appended(archive(), "spans", SPAN, client, inner), UNHANDLED)
    assert [each["service"] for each in found.examples] == ["orders"]
    assert found.examples[0]["trace_id"] == "b" * 32


def test_a_500_of_a_fault_that_aborts_with_500_is_explained(archive: Archive) -> None:
    fault = {
        "fault_id": "f-2",
        "kind": "abort",
        "target": "gateway-1",
        "attributes": {"status": 500},
    }
    path = archive()
    appended(path, "faults", fault)
    assert result_of(appended(path, "spans", SPAN), UNHANDLED).status == "ok"


@pytest.mark.parametrize(
    ("row", "status"),
    [
        ("SELECT 'expired token' AS name, 'GET /api/me' AS route, 401 AS expected, 200 AS status, 0 AS shown",
         "violated"),
        ("SELECT 'expired token' AS name, 'GET /api/me' AS route, 401 AS expected, 401 AS status, 0 AS shown",
         "ok"),
        ("SELECT 'mails' AS name, 'GET /notifications' AS route, 200 AS expected, 200 AS status, 2 AS shown",
         "violated"),
        ("SELECT 'mails' AS name, 'GET /notifications' AS route, 200 AS expected, 0 AS status, 0 AS shown",
         "ok"),
    ],
)  # fmt: skip
def test_a_forged_token_that_is_accepted_is_convicted(
    archive: Archive, row: str, status: str
) -> None:
    path = archive()
    write_parquet(row, str(path / "state/lab.refusals.parquet"))
    assert result_of(Run(path), FORBIDDEN).status == status


@pytest.mark.parametrize(("status", "violations"), [("confirmed", 1), ("cancelled", 0)])
def test_a_forbidden_order_may_be_pending_and_not_be_confirmed(
    archive: Archive, status: str, violations: int
) -> None:
    path = archive()
    found = Run(path).state("orders.orders").filter(f"status = '{status}'").project("order_id")
    order_id = found.fetchall()[0][0]
    run = changed(path, UNKNOWN, answers(202, order_id=order_id))
    result = result_of(run, FORBIDDEN)
    assert (result.violations, result.status) == (violations, "violated" if violations else "ok")
