"""The timeline of an order combines the answers and the records of all services, by time."""

from __future__ import annotations

from lab.analysis.consistency.order_timeline import order_timeline
from lab.archive import Run


def test_a_timeline_starts_with_the_shopper_and_has_the_records_of_all_services(clean: Run) -> None:
    confirmed = clean.state("orders.orders").filter("status = 'confirmed'").order("order_id")
    order_id = confirmed.project("order_id").fetchall()[0][0]
    timeline = order_timeline(clean, order_id)
    first = timeline.iloc[0]
    assert (first["after_s"], first["entry"]) == (0.0, "places the order")
    assert timeline["after_s"].is_monotonic_increasing
    assert {"shopper", "orders", "bank", "inventory", "notifications"} == set(timeline["source"])


def test_the_timeline_of_an_unknown_order_is_empty(clean: Run) -> None:
    assert order_timeline(clean, "it's unknown").empty
