"""The shop with a missing or slow part: what still works, what it answers, and its recovery."""

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
    """The service or server is down inside the block and ready after it."""
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


def test_one_slow_instance_of_two_is_ejected_and_readmitted(lab: ProcessesRuntime) -> None:
    running = RunningLab(lab.lab)
    control, policies = FaultClient(running), PolicyClient(running)
    customer = Customer(ingress(lab))
    gateways = {each.name for each in control.targets("gateway")}

    def ejecting_gateways() -> set[str]:
        found, silent = policies.read(EDGE)
        assert not silent
        return {each.instance.name for each in found if each.ejected == ["products-2"]}

    def none_waits() -> bool:
        return max(customer.browse().seconds for _ in range(20)) < 1.0

    def all_eject_it() -> bool:
        customer.browse()
        return ejecting_gateways() == gateways

    spec = {"kind": "latency", "attributes": {"latency_ms": 1000}, "point": "inbound"}
    control.add_fault("products-2", {**spec, "ttl_s": 30})
    try:
        wait_until(all_eject_it, "both gateways eject products-2", 25)
        wait_until(none_waits, "twenty pages that did not wait for the slow instance", 25)
    finally:
        control.clear("products-2")

    def readmitted() -> bool:
        customer.browse()  # an instance is readmitted when the next call can use it
        return not ejecting_gateways()

    wait_until(readmitted, "products-2 gets requests again", 25)
    for _ in range(40):
        customer.browse()
    assert not ejecting_gateways()


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


def test_browsing_and_logged_in_customers_do_not_need_users(lab: ProcessesRuntime) -> None:
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


def test_the_catalogue_does_not_need_valkey(lab: ProcessesRuntime) -> None:
    customer = Customer(ingress(lab))
    with without(lab, "valkey"):
        replies = [customer.browse() for _ in range(30)]
        listed = exchange("GET", f"{ingress(lab)}/api/products")
        assert customer.order().status == 201
    assert {reply.status for reply in replies} == {200}
    assert not any("breakwater-stale" in reply.headers for reply in replies)
    assert statistics.median(reply.seconds for reply in replies) < ANSWER_S, "reads wait for Valkey"
    assert len(listed.body["items"]) == 20


def test_orders_do_not_need_notifications(lab: ProcessesRuntime) -> None:
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

    wait_until(mailed, "the mail is sent later", 20)


def test_a_header_selects_the_resilience_profile_of_a_request(lab: ProcessesRuntime) -> None:
    control = FaultClient(RunningLab(lab.lab))
    spec = {"kind": "latency", "attributes": {"latency_ms": 1500}, "point": "inbound"}
    control.add_fault("products", {**spec, "scope": {"route": "/products/"}, "ttl_s": 30})
    try:
        bare = page(lab, "SKU-0901", **{"Breakwater-Lab": "resilience=none"})
        full = page(lab, "SKU-0902")
    finally:
        control.clear("products")
    assert bare.status == 200, "without policies the gateway waits for the answer"
    assert bare.seconds >= 1.5
    assert full.status in (503, 504), "with policies it gives up earlier"


def test_an_outage_is_recorded_as_a_fault_and_ends(lab: ProcessesRuntime) -> None:
    (row,) = actions.outage("users", 1.5, {"port_base": lab.port_base})
    assert (row["kind"], row["target"], row["hits"]) == ("outage", "users-1", 1)
    assert row["commanded_s"] <= row["effective_s"] <= row["removed_s"]
    assert row["removed_s"] - row["commanded_s"] >= 1.5
    assert lab.status()["ready"]


def test_the_end_of_a_pause_keeps_the_other_faults_of_its_target(lab: ProcessesRuntime) -> None:
    control = FaultClient(find_lab(lab.port_base))
    (slow,) = control.add_fault("users", {"kind": "noop", "point": "inbound", "ttl_s": 60})
    try:
        actions.pause("users", 0.5, {"port_base": lab.port_base})
        assert [each.fault_id for each in control.faults("users")] == [slow.fault_id]
    finally:
        control.clear("users")


@pytest.mark.parametrize("action", [actions.outage, actions.pause])
def test_an_interrupted_outage_or_pause_ends(
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
    """A separate lab whose checkouts have a deadline of three seconds."""
    monkeypatch.setenv("LAB_DIR", str(tmp_path))
    runtime = ProcessesRuntime(free_port_base(DEFAULT_PATH))
    runtime.up(UpOptions({"orders.SAGA_DEADLINE_S": "3"}))
    try:
        yield runtime
    finally:
        runtime.down()


@pytest.mark.slow
def test_a_checkout_past_its_deadline_is_compensated(impatient_lab: ProcessesRuntime) -> None:
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
        wait_until(
            lambda: status_of(customer, order_id) == "cancelled", "the order is cancelled", 20
        )
        assert reserved() == 0
    assert customer.own_order(order_id).body["reason"] == "unavailable"
