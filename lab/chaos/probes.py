"""Chaos Toolkit probes: measurements that a customer or an operator of the running shop could make.

Each probe finds the lab through lab.json: the newest one, or the one of `configuration: {port_base: ...}`.
A probe that cannot measure raises an error, so that no data never looks like a good value.
"""

from __future__ import annotations

import math
import time
from functools import lru_cache
from typing import Any

from lab.chaos.faults.client import FaultClient
from lab.chaos.probe_customer import Customer, UnservedError, quantile
from lab.chaos.resilience import PolicyClient
from lab.chaos.running_lab import RunningLab, find_lab
from lab.http_client import NoReplyError, exchange

BREAKER_STATES = ("closed", "half_open", "open")
Configuration = dict[str, Any]


class NotObservedError(Exception):
    """The expected value did not come in time, or there is nothing to measure."""


def configured_lab(configuration: Configuration | None) -> RunningLab:
    """The lab of the experiment: that of `port_base`, else the newest. Raises NoLabError."""
    port_base = (configuration or {}).get("port_base")
    return find_lab(int(port_base) if port_base else None)


@lru_cache(maxsize=4)
def customer_of(ingress_url: str) -> Customer:
    return Customer(ingress_url)  # one per process: a log-in costs the shop 20 ms of CPU


def browse(configuration: Configuration | None = None) -> dict[str, Any]:
    """Opens a product's page; returns {"status", "seconds"}."""
    reply = customer_of(configured_lab(configuration).ingress_url).browse()
    return {"status": reply.status, "seconds": round(reply.seconds, 4)}


def place_order(
    sku: str = "", card: str = "4242424242424242", configuration: Configuration | None = None
) -> dict[str, Any]:
    """Places an order through nginx; returns {"status", "seconds", "order_id"}."""
    reply = customer_of(configured_lab(configuration).ingress_url).order(sku, card)
    order_id = reply.body.get("id") or reply.body.get("order_id")
    return {"status": reply.status, "seconds": round(reply.seconds, 4), "order_id": order_id}


def browse_seconds(configuration: Configuration | None = None) -> float:
    """Seconds until a product's page was served. Raises if it was not served."""
    return float(browse(configuration)["seconds"])


def account_seconds(configuration: Configuration | None = None) -> float:
    """Seconds until a customer's list of orders was served. Raises if it was not served."""
    return customer_of(configured_lab(configuration).ingress_url).own_orders().seconds


def order_seconds(configuration: Configuration | None = None) -> float:
    """Seconds until an order got a proper answer. Raises if it got none."""
    return float(place_order(configuration=configuration)["seconds"])


def sign_in_seconds(configuration: Configuration | None = None) -> float:
    """Seconds of a new log-in and the list of the customer's orders. Raises if one of them failed."""
    started = time.monotonic()
    customer_of(configured_lab(configuration).ingress_url).sign_in()
    return round(time.monotonic() - started, 4)


def answer_seconds(journey: str = "order", configuration: Configuration | None = None) -> float:
    """Seconds until a visit (browse, browse_rare, order) got any answer, also an error. Raises if it got none."""
    return customer_of(configured_lab(configuration).ingress_url).any_answer(journey).seconds


def error_ratio(
    journey: str = "browse", count: int = 20, configuration: Configuration | None = None
) -> float:
    """The ratio of `count` visits (browse, browse_rare or order) without a proper answer, 0 to 1."""
    _, unserved = customer_of(configured_lab(configuration).ingress_url).sample(journey, count)
    return unserved / count


def latency_ms(
    journey: str = "browse",
    count: int = 20,
    q: float = 0.95,
    configuration: Configuration | None = None,
) -> float:
    """The q-quantile in ms of `count` visits. Raises if one of them was not served."""
    seconds, unserved = customer_of(configured_lab(configuration).ingress_url).sample(
        journey, count
    )
    if unserved:
        raise NotObservedError(f"{unserved} of {count} visits to {journey} got no proper answer")
    return 1000 * quantile(seconds, q)


def breaker_state(edge: str, configuration: Configuration | None = None) -> str:
    """closed, half_open or open, of the caller's instance with the worst state. `edge`: "payments->bank"."""
    client = FaultClient(configured_lab(configuration))
    seen = [
        value
        for instance in client.targets(_caller(edge))
        if (value := client.metric(instance, "breaker_state", edge=edge)) is not None
    ]
    if not seen:
        raise NotObservedError(f"no instance reports a breaker_state of edge {edge}")
    return BREAKER_STATES[int(max(seen))]


def breaker_becomes(
    edge: str, state: str, within_s: float, configuration: Configuration | None = None
) -> float:
    """Seconds until the breaker was `state`, checked ten times a second. Raises after `within_s`."""
    if state not in BREAKER_STATES:
        raise ValueError(f"no breaker state {state!r}: expected {', '.join(BREAKER_STATES)}")
    return _until(
        lambda: breaker_state(edge, configuration) == state,
        within_s,
        f"the breaker of {edge} did not become {state}",
    )


def all_ready(service: str | None = None, configuration: Configuration | None = None) -> bool:
    """Whether every instance (of the service) answers /ready with 200."""
    client = FaultClient(configured_lab(configuration))
    return all(client.ready(instance) for instance in client.targets(service))


def becomes_ready(
    service: str | None = None, within_s: float = 15, configuration: Configuration | None = None
) -> float:
    """Seconds until every instance (of the service) was ready. Raises after `within_s`."""
    return _until(
        lambda: all_ready(service, configuration), within_s, f"{service or 'the shop'} is not ready"
    )


def fault_effective(
    target: str | None = None, kind: str | None = None, configuration: Configuration | None = None
) -> bool:
    """Whether an armed fault (of this kind, at this service or instance) has had an effect."""
    client = FaultClient(configured_lab(configuration))
    return any(fault.hits > 0 for fault in client.faults(target) if kind in (None, fault.kind))


def no_faults(configuration: Configuration | None = None) -> bool:
    """Whether no fault is armed in the whole lab."""
    return not FaultClient(configured_lab(configuration)).faults()


def faults_end(
    target: str | None = None, within_s: float = 60, configuration: Configuration | None = None
) -> float:
    """Seconds until no fault was armed (at the target). Raises after `within_s`."""
    client = FaultClient(configured_lab(configuration))
    return _until(lambda: not client.faults(target), within_s, "a fault is still armed")


def orders_get_through(within_s: float = 15, configuration: Configuration | None = None) -> float:
    """Seconds until an order was confirmed at once (201). Raises after `within_s`."""

    def confirmed() -> bool:
        try:
            return bool(place_order(configuration=configuration)["status"] == 201)
        except (UnservedError, NoReplyError):
            return False

    return _until(confirmed, within_s, "no order was confirmed at once", interval_s=0.5)


def metric_becomes(
    target: str,
    name: str,
    within_s: float,
    at_least: float | None = None,
    at_most: float | None = None,
    configuration: Configuration | None = None,
) -> float:
    """Seconds until a metric, summed over the target's instances, was in the range. Raises after `within_s`."""
    if at_least is None and at_most is None:
        raise ValueError("metric_becomes: one of at_least and at_most is required")
    low = -math.inf if at_least is None else at_least
    high = math.inf if at_most is None else at_most
    client = FaultClient(configured_lab(configuration))

    def in_range() -> bool:
        values = [client.metric(instance, name) for instance in client.targets(target)]
        return None not in values and low <= sum(value or 0.0 for value in values) <= high

    return _until(in_range, within_s, f"{name} of {target} was not in [{low:g}, {high:g}]")


def clock_off_s(target: str, configuration: Configuration | None = None) -> float:
    """Seconds by which an instance's clock is ahead of this machine's. Of a service: its first instance."""
    lab = configured_lab(configuration)
    instance = FaultClient(lab).targets(target)[0]
    sent_s = time.time()
    reply = exchange("GET", f"{instance.url}/_lab/time", token=lab.token)
    if reply.status != 200:
        raise NotObservedError(f"{instance.name} does not report its time: {reply.status}")
    return float(reply.body["now_s"]) - (sent_s + time.time()) / 2


def mails_arrive(within_s: float = 20, configuration: Configuration | None = None) -> float:
    """Seconds until each confirmed order of the probes' customer (the latest twenty) had exactly one mail.

    Raises after `within_s`.
    """
    customer = customer_of(configured_lab(configuration).ingress_url)
    confirmed = [
        str(each["id"])
        for each in customer.own_orders().body["items"]
        if each["status"] == "confirmed"
    ]
    if not confirmed:
        raise NotObservedError("no mail can be expected: the customer has no confirmed order")

    def arrived() -> bool:
        while confirmed and _mails(customer, confirmed[-1], "order_confirmed") == 1:
            confirmed.pop()
        return not confirmed

    return _until(arrived, within_s, "a confirmed order has not one mail", interval_s=0.3)


def cancellation_is_mailed(
    within_s: float = 10, configuration: Configuration | None = None
) -> float:
    """Seconds until an order that is placed and cancelled now had its mail. Raises after `within_s`."""
    customer = customer_of(configured_lab(configuration).ingress_url)
    order_id = str(customer.order().body["id"])
    customer.cancel(order_id)

    def arrived() -> bool:
        return _mails(customer, order_id, "order_cancelled") == 1

    return _until(arrived, within_s, "the cancelled order has no mail", interval_s=0.3)


def _mails(customer: Customer, order_id: str, kind: str) -> int | None:
    """The number of mails of this kind that were sent for an order; None while the shop does not answer."""
    try:
        mails = customer.own_order(order_id).body.get("mails") or ()
    except (UnservedError, NoReplyError):
        return None
    return len([each for each in mails if each["kind"] == kind and each["status"] == "sent"])


def orders_become_confirmed(within_s: float, configuration: Configuration | None = None) -> float:
    """Seconds until the probes' customer had no pending order (of the latest twenty).

    Raises after `within_s`, or as soon as the shop has given up one of the orders.
    """
    customer = customer_of(configured_lab(configuration).ingress_url)

    def confirmed() -> bool:
        try:
            orders = customer.own_orders().body["items"]
        except (UnservedError, NoReplyError):
            return False
        given_up = [
            each
            for each in orders
            if each["status"] == "cancelled" and each["reason"] != "customer"
        ]
        if given_up:
            raise NotObservedError(
                f"the shop gave up {len(given_up)} of {len(orders)} orders: {given_up[0]['reason']}"
            )
        return bool(orders) and all(each["status"] != "pending" for each in orders)

    return _until(confirmed, within_s, "an order is pending", interval_s=0.3)


def served_again(
    within_s: float,
    journey: str = "browse",
    in_a_row: int = 8,
    seconds_max: float = 0.5,
    configuration: Configuration | None = None,
) -> float:
    """Seconds until `in_a_row` visits, one each 0.25 s, were each served within `seconds_max`.

    Raises after `within_s`, also if the latest visits were good.
    """
    customer = customer_of(configured_lab(configuration).ingress_url)
    visit = customer.visit(journey)
    good = 0

    def served() -> bool:
        nonlocal good
        try:
            good = good + 1 if visit().seconds <= seconds_max else 0
        except (UnservedError, NoReplyError):
            good = 0
        return good >= in_a_row

    complaint = f"{in_a_row} visits to {journey} in a row were not served"
    return _until(served, within_s, complaint, interval_s=0.25)


def instance_ejected(
    edge: str, instance: str, within_s: float, configuration: Configuration | None = None
) -> float:
    """Seconds until one instance of the caller had ejected `instance`. Raises after `within_s`."""
    return _until(
        lambda: instance in _ejected(edge, configuration),
        within_s,
        f"no caller ejected {instance} from {edge}",
    )


def instance_readmitted(
    edge: str, instance: str, within_s: float, configuration: Configuration | None = None
) -> float:
    """Seconds until no instance of the caller ejected `instance` any more. Raises after `within_s`."""
    return _until(
        lambda: instance not in _ejected(edge, configuration),
        within_s,
        f"{instance} is still ejected from {edge}",
    )


def _ejected(edge: str, configuration: Configuration | None) -> set[str]:
    states, failed = PolicyClient(configured_lab(configuration)).read(edge)
    if not states:
        reasons = "".join(f"; {reason}" for reason in failed.values())
        raise NotObservedError(f"no instance reports edge {edge}{reasons}")
    return {name for state in states for name in state.ejected}


def _until(condition: Any, within_s: float, complaint: str, interval_s: float = 0.1) -> float:
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > within_s:
            raise NotObservedError(f"{complaint} within {within_s:g} s")
        time.sleep(interval_s)
    return round(time.monotonic() - started, 3)


def _caller(edge: str) -> str:
    return edge.partition("->")[0]
