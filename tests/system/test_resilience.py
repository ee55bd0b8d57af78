"""The shop with something missing or slow: what goes on, what is said, and that it comes back."""

import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from chassis.cache import ANSWER_S
from lab.chaos import actions
from lab.chaos.faults.client import FaultClient
from lab.chaos.probe_customer import Customer
from lab.chaos.resilience import PolicyClient
from lab.chaos.running_lab import RunningLab, find_lab
from lab.http_client import Reply, exchange
from lab.runtimes.base import UpOptions
from lab.runtimes.processes.runtime import ProcessesRuntime
from lab.runtimes.supervisor.client import call_supervisor
from lab.topology import DEFAULT_PATH
from tests.fixtures.labs import free_port_base
from tests.fixtures.waiting import wait_until

EDGE = "gateway->products"


@contextmanager
def without(lab: ProcessesRuntime, target: str) -> Iterator[None]:
    """The service or server is dead inside, and ready again after it."""
    lab.kill(target, restart=False)
    try:
        yield
    finally:
        call_supervisor(lab.lab, "POST", "/restart", {"target": target})


def ingress(lab: ProcessesRuntime) -> str:
    return lab.address("ingress")


def status_of(customer: Customer, order_id: str) -> str:
    orders = customer.own_orders().body["items"]
    return next(str(each["status"]) for each in orders if each["id"] == order_id)


def page(lab: ProcessesRuntime, sku: str, **headers: str) -> Reply:
    return exchange("GET", f"{ingress(lab)}/api/products/{sku}", headers=headers, timeout_s=10)


def test_one_slow_instance_of_two_is_left_out_and_taken_back(lab: ProcessesRuntime) -> None:
    running = RunningLab(lab.lab)
    control, policies = FaultClient(running), PolicyClient(running)
    customer = Customer(ingress(lab))
    gateways = {each.name for each in control.targets("gateway")}

    def leaving_it_out() -> set[str]:
        held, silent = policies.read(EDGE)
        assert not silent
        return {each.instance.name for each in held if each.ejected == ["products-2"]}

    def none_waits() -> bool:
        return max(customer.browse().seconds for _ in range(20)) < 1.0

    def looked_at_enough() -> bool:
        customer.browse()
        return leaving_it_out() == gateways

    spec = {"kind": "latency", "attributes": {"latency_ms": 1000}, "point": "inbound"}
    control.add_fault("products-2", {**spec, "ttl_s": 30})
    try:
        wait_until(looked_at_enough, "both gateways leave products-2 out", 25)
        wait_until(none_waits, "twenty pages that did not wait for the slow instance", 25)
    finally:
        control.clear("products-2")

    def taken_back() -> bool:
        customer.browse()  # an instance is taken back when the next call could use it
        return not leaving_it_out()

    wait_until(taken_back, "products-2 is asked again", 25)
    for _ in range(40):
        customer.browse()
    assert not leaving_it_out()


def test_a_checkout_without_the_bank_is_pending_and_confirmed_when_it_is_back(
    lab: ProcessesRuntime,
) -> None:
    customer = Customer(ingress(lab))
    with without(lab, "bank"):
        replies = [customer.order() for _ in range(3)]
    assert {reply.status for reply in replies} == {202}
    assert {reply.body["status"] for reply in replies} == {"pending"}
    placed = {str(reply.body["id"]) for reply in replies}

    def all_confirmed() -> bool:
        return {status_of(customer, order_id) for order_id in placed} == {"confirmed"}

    wait_until(all_confirmed, "the orders are confirmed", 25)


def test_browsing_and_known_customers_do_without_users(lab: ProcessesRuntime) -> None:
    customer = Customer(ingress(lab))
    assert customer.own_orders().status == 200  # logs in
    with without(lab, "users"):
        for _ in range(10):
            assert customer.browse().status == 200
            assert customer.own_orders().status == 200
        assert customer.order().status == 201
        body = {"email": "user499@example.com", "password": "x" * 12}
        login = exchange("POST", f"{ingress(lab)}/api/login", body=body)
        assert login.status == 503
        assert login.body["definite"] is True
        assert int(login.headers["retry-after"]) >= 1


def test_the_catalogue_does_without_valkey(lab: ProcessesRuntime) -> None:
    customer = Customer(ingress(lab))
    with without(lab, "valkey"):
        replies = [customer.browse() for _ in range(30)]
        listed = exchange("GET", f"{ingress(lab)}/api/products")
        assert customer.order().status == 201
    assert {reply.status for reply in replies} == {200}
    assert not any("breakwater-stale" in reply.headers for reply in replies)
    assert statistics.median(reply.seconds for reply in replies) < ANSWER_S, "reads wait for Valkey"
    assert len(listed.body["items"]) == 20


def test_orders_do_without_notifications(lab: ProcessesRuntime) -> None:
    customer = Customer(ingress(lab))
    with without(lab, "notifications"):
        placed = customer.order()
        assert placed.status == 201
        details = customer.own_order(placed.body["id"])
        assert details.body["degraded"] == ["mails"]
        assert details.body["payment"]["status"] == "captured"

    def mailed() -> Any:
        mails = customer.own_order(placed.body["id"]).body["mails"]
        return [mail for mail in mails if mail["status"] == "sent"]

    wait_until(mailed, "the mail is sent after all", 20)


def test_the_ladder_can_be_asked_for_by_header_from_outside(lab: ProcessesRuntime) -> None:
    control = FaultClient(RunningLab(lab.lab))
    spec = {"kind": "latency", "attributes": {"latency_ms": 1500}, "point": "inbound"}
    control.add_fault("products", {**spec, "scope": {"route": "/products/"}, "ttl_s": 30})
    try:
        bare = page(lab, "SKU-0901", **{"Breakwater-Lab": "resilience=none"})
        full = page(lab, "SKU-0902")
    finally:
        control.clear("products")
    assert bare.status == 200, "without policies the answer is waited for"
    assert bare.seconds >= 1.5
    assert full.status in (503, 504), "with them it is given up on"


def test_what_is_taken_away_for_a_while_is_a_fault_and_is_back(lab: ProcessesRuntime) -> None:
    (row,) = actions.outage("users", 1.5, {"port_base": lab.port_base})
    assert (row["kind"], row["target"], row["hits"]) == ("outage", "users-1", 1)
    assert row["commanded_s"] <= row["effective_s"] <= row["removed_s"]
    assert row["removed_s"] - row["commanded_s"] >= 1.5
    assert lab.status()["ready"]


def test_a_pause_that_ends_leaves_the_other_faults_of_its_target_alone(
    lab: ProcessesRuntime,
) -> None:
    control = FaultClient(find_lab(lab.port_base))
    (slow,) = control.add_fault("users", {"kind": "noop", "point": "inbound", "ttl_s": 60})
    try:
        actions.pause("users", 0.5, {"port_base": lab.port_base})
        assert [each.fault_id for each in control.faults("users")] == [slow.fault_id]
    finally:
        control.clear("users")


@pytest.mark.parametrize("action", [actions.outage, actions.pause])
def test_an_interruption_leaves_nothing_away_or_paused(
    lab: ProcessesRuntime, action: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def products() -> dict[str, tuple[str, int]]:
        listed = lab.status(live=False)["processes"]
        return {p["name"]: (p["state"], p["pid"]) for p in listed if p["service"] == "products"}

    before = products()
    seen: list[dict[str, tuple[str, int]]] = []

    def interrupted(_: float) -> None:
        seen.append(products())
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("lab.chaos.actions.time.sleep", interrupted)
        action("products", 60.0, {"port_base": lab.port_base})
    wait_until(lambda: lab.status()["ready"], "products are back")
    if action is actions.pause:
        assert {state for state, _ in seen[0].values()} == {"paused"}
        assert products() == before
    else:
        assert not {pid for _, pid in products().values()} & {pid for _, pid in before.values()}


@pytest.fixture
def impatient_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProcessesRuntime]:
    """A lab of its own whose checkouts give up after three seconds."""
    monkeypatch.setenv("LAB_DIR", str(tmp_path))
    runtime = ProcessesRuntime(free_port_base(DEFAULT_PATH))
    runtime.up(UpOptions({"orders.SAGA_DEADLINE_S": "3"}))
    try:
        yield runtime
    finally:
        runtime.down()


def test_a_checkout_that_waited_too_long_for_the_bank_is_undone(
    impatient_lab: ProcessesRuntime,
) -> None:
    lab = impatient_lab
    customer = Customer(ingress(lab))
    sku = "SKU-0042"
    inventory = next(each for each in lab.lab.instances if each.service == "inventory")

    def reserved() -> int:
        return int(exchange("GET", f"{inventory.address}/stock/{sku}").body["reserved"])

    with without(lab, "bank"):
        placed = customer.order(sku)
        assert placed.status == 202
        assert reserved() == 1, "answered before its deadline"
        order_id = placed.body["id"]
        wait_until(lambda: status_of(customer, order_id) == "cancelled", "the order is undone", 20)
        assert reserved() == 0
    assert customer.own_order(order_id).body["reason"] == "unavailable"
