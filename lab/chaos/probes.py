"""Chaos Toolkit probes: what a customer and an operator of the running shop would see.

Each finds the lab through lab.json; `configuration: {port_base: ...}` chooses another than the newest.
A probe that cannot measure raises: no data must never look like a good value.
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
    """What the probe waits for did not come, or there is nothing to measure."""


def configured_lab(configuration: Configuration | None) -> RunningLab:
    """The lab an experiment is about. Raises NoLabError."""
    port_base = (configuration or {}).get("port_base")
    return find_lab(int(port_base) if port_base else None)


@lru_cache(maxsize=4)
def customer_of(ingress_url: str) -> Customer:
    return Customer(ingress_url)  # one a process: a login costs the shop 20 ms of CPU


def browse(configuration: Configuration | None = None) -> dict[str, Any]:
    """Open a product's page: {"status", "seconds"}."""
    reply = customer_of(configured_lab(configuration).ingress_url).browse()
    return {"status": reply.status, "seconds": round(reply.seconds, 4)}


def place_order(
    sku: str = "", card: str = "4242424242424242", configuration: Configuration | None = None
) -> dict[str, Any]:
    """Place an order through the front door: {"status", "seconds", "order_id"}."""
    reply = customer_of(configured_lab(configuration).ingress_url).order(sku, card)
    order_id = reply.body.get("id") or reply.body.get("order_id")
    return {"status": reply.status, "seconds": round(reply.seconds, 4), "order_id": order_id}


def browse_seconds(configuration: Configuration | None = None) -> float:
    """Seconds until a product's page was there; raises if it was not."""
    return float(browse(configuration)["seconds"])


def account_seconds(configuration: Configuration | None = None) -> float:
    """Seconds until a customer saw the list of her orders; raises if she did not."""
    return customer_of(configured_lab(configuration).ingress_url).own_orders().seconds


def order_seconds(configuration: Configuration | None = None) -> float:
    """Seconds until an order was answered properly; raises if it was not."""
    return float(place_order(configuration=configuration)["seconds"])


def sign_in_seconds(configuration: Configuration | None = None) -> float:
    """Seconds until a customer had logged in anew and saw her orders; raises if she did not."""
    started = time.monotonic()
    customer_of(configured_lab(configuration).ingress_url).sign_in()
    return round(time.monotonic() - started, 4)


def answer_seconds(journey: str = "order", configuration: Configuration | None = None) -> float:
    """Seconds until a visit (browse or order) was answered at all, be it by an error; raises if not."""
    return customer_of(configured_lab(configuration).ingress_url).ask(journey).seconds


def error_ratio(
    journey: str = "browse", count: int = 20, configuration: Configuration | None = None
) -> float:
    """The share of `count` visits (browse or order) without a proper answer, 0 to 1."""
    _, unserved = customer_of(configured_lab(configuration).ingress_url).sample(journey, count)
    return unserved / count


def latency_ms(
    journey: str = "browse",
    count: int = 20,
    q: float = 0.95,
    configuration: Configuration | None = None,
) -> float:
    """The q-quantile in ms of `count` visits; raises if one of them was not served."""
    seconds, unserved = customer_of(configured_lab(configuration).ingress_url).sample(
        journey, count
    )
    if unserved:
        raise NotObservedError(f"{unserved} of {count} visits to {journey} got no proper answer")
    return 1000 * quantile(seconds, q)


def breaker_state(edge: str, configuration: Configuration | None = None) -> str:
    """closed, half_open or open: the worst of the caller's instances. `edge`: "payments->bank"."""
    control = FaultClient(configured_lab(configuration))
    seen = [
        value
        for instance in control.targets(_caller(edge))
        if (value := control.metric(instance, "breaker_state", edge=edge)) is not None
    ]
    if not seen:
        raise NotObservedError(f"no instance tells a breaker_state of edge {edge}")
    return BREAKER_STATES[int(max(seen))]


def breaker_becomes(
    edge: str, state: str, within_s: float, configuration: Configuration | None = None
) -> float:
    """Seconds until the breaker was `state`, looked at ten times a second; raises after `within_s`."""
    if state not in BREAKER_STATES:
        raise ValueError(f"no breaker state {state!r}: expected {', '.join(BREAKER_STATES)}")
    return _until(
        lambda: breaker_state(edge, configuration) == state,
        within_s,
        f"the breaker of {edge} did not become {state}",
    )


def all_ready(service: str | None = None, configuration: Configuration | None = None) -> bool:
    """Whether every instance (of the service) answers /ready with 200."""
    control = FaultClient(configured_lab(configuration))
    return all(control.ready(instance) for instance in control.targets(service))


def becomes_ready(
    service: str | None = None, within_s: float = 15, configuration: Configuration | None = None
) -> float:
    """Seconds until every instance (of the service) was ready; raises after `within_s`."""
    return _until(
        lambda: all_ready(service, configuration), within_s, f"{service or 'the shop'} is not ready"
    )


def fault_effective(
    target: str | None = None, kind: str | None = None, configuration: Configuration | None = None
) -> bool:
    """Whether an armed fault (of that kind, at that service or instance) has hit something."""
    control = FaultClient(configured_lab(configuration))
    return any(
        placed.view["hits"] > 0
        for placed in control.faults(target)
        if kind in (None, placed.view["kind"])
    )


def no_faults(configuration: Configuration | None = None) -> bool:
    """Whether nothing is armed anywhere."""
    return not FaultClient(configured_lab(configuration)).faults()


def faults_end(
    target: str | None = None, within_s: float = 60, configuration: Configuration | None = None
) -> float:
    """Seconds until nothing was armed any more (there); raises after `within_s`."""
    control = FaultClient(configured_lab(configuration))
    return _until(lambda: not control.faults(target), within_s, "a fault is still armed")


def orders_get_through(within_s: float = 15, configuration: Configuration | None = None) -> float:
    """Seconds until an order was confirmed at once (201) again; raises after `within_s`."""

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
    """Seconds until a metric, summed over the target's instances, was in the range; raises after `within_s`."""
    if at_least is None and at_most is None:
        raise ValueError("metric_becomes: one of at_least and at_most is required")
    low = -math.inf if at_least is None else at_least
    high = math.inf if at_most is None else at_most
    control = FaultClient(configured_lab(configuration))

    def in_range() -> bool:
        told = [control.metric(instance, name) for instance in control.targets(target)]
        return None not in told and low <= sum(value or 0.0 for value in told) <= high

    return _until(in_range, within_s, f"{name} of {target} was not in [{low:g}, {high:g}]")


def clock_off_s(target: str, configuration: Configuration | None = None) -> float:
    """By how many seconds an instance's clock is ahead of this machine's (the first of a service)."""
    lab = configured_lab(configuration)
    instance = FaultClient(lab).targets(target)[0]
    asked = time.time()
    reply = exchange("GET", f"{instance.url}/_lab/time", token=lab.token)
    if reply.status != 200:
        raise NotObservedError(f"{instance.name} does not tell its time: {reply.status}")
    return float(reply.body["now_s"]) - (asked + time.time()) / 2


def mails_arrive(within_s: float = 20, configuration: Configuration | None = None) -> float:
    """Seconds until each confirmed order of the probes' customer (her latest twenty) had its mail sent."""
    customer = customer_of(configured_lab(configuration).ingress_url)
    confirmed = [
        str(each["id"])
        for each in customer.own_orders().body["items"]
        if each["status"] == "confirmed"
    ]
    if not confirmed:
        raise NotObservedError(
            "the probes' customer has no confirmed order: no mail is to be expected"
        )

    def arrived() -> bool:
        try:
            while confirmed:
                mails = customer.own_order(confirmed[-1]).body.get("mails") or ()
                sent = [
                    m for m in mails if m["kind"] == "order_confirmed" and m["status"] == "sent"
                ]
                if len(sent) != 1:
                    return False
                confirmed.pop()
        except (UnservedError, NoReplyError):
            return False
        return True

    return _until(arrived, within_s, "a confirmed order is without its one mail", interval_s=0.3)


def served_again(
    within_s: float,
    journey: str = "browse",
    in_a_row: int = 8,
    seconds_max: float = 0.5,
    configuration: Configuration | None = None,
) -> float:
    """Seconds until `in_a_row` visits, a quarter of a second apart, were each served within `seconds_max`.

    Raises after `within_s`, also in the middle of a good row.
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
    """Seconds until a caller's instance had left `instance` out of its balancing; raises after `within_s`."""
    return _until(
        lambda: instance in _ejected(edge, configuration),
        within_s,
        f"nobody ejected {instance} from {edge}",
    )


def instance_readmitted(
    edge: str, instance: str, within_s: float, configuration: Configuration | None = None
) -> float:
    """Seconds until no caller's instance left `instance` out any more; raises after `within_s`."""
    return _until(
        lambda: instance not in _ejected(edge, configuration),
        within_s,
        f"{instance} is still ejected from {edge}",
    )


def _ejected(edge: str, configuration: Configuration | None) -> set[str]:
    held, silent = PolicyClient(configured_lab(configuration)).read(edge)
    if not held:
        raise NotObservedError(f"no instance tells of edge {edge}{''.join(silent.values())}")
    return {name for each in held for name in each.ejected}


def _until(condition: Any, within_s: float, complaint: str, interval_s: float = 0.1) -> float:
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > within_s:
            raise NotObservedError(f"{complaint} within {within_s:g} s")
        time.sleep(interval_s)
    return round(time.monotonic() - started, 3)


def _caller(edge: str) -> str:
    return edge.partition("->")[0]
