"""How full an instance is: its event loop, its policies, its neighbours; read when asked, not per request."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from chassis.clock import SystemClock
from chassis.edge_policies.switches import Switchboards
from chassis.telemetry.histogram import Histogram
from chassis.telemetry.metrics import gauge

LOOP_LAG_SECONDS = Histogram("event_loop_lag_seconds", "How late a timer comes")
CLOCK = gauge("clock_seconds", "The service's wall clock, s since 1970")
CONNECTED = gauge("broker_connected", "1 while the broker's connection stands")
TICK_S = 0.1
# by field of a policy's snapshot: the first name that a policy has
IN_FLIGHT, WAITING, LIMIT = ("in_flight",), ("waiting",), ("permits", "limit", "capacity")


async def watch_the_loop(clock: SystemClock) -> None:
    """For ever: how late each tick comes. Ticks that a blocked loop missed count as what they would have
    waited, or a block of a second would weigh as little as one tick (coordinated omission)."""
    due = clock.monotonic() + TICK_S
    while True:
        await asyncio.sleep(due - clock.monotonic())
        now = clock.monotonic()
        while due <= now:
            LOOP_LAG_SECONDS.observe(now - due)
            due += TICK_S


class Saturation(Collector):
    """The state of each edge's policies, and the instances known of each callee."""

    def __init__(self, edges: Switchboards, instances: Callable[[str], list[Any]]) -> None:
        self._edges = edges
        self._instances = instances

    def collect(self) -> Iterable[Metric]:
        in_flight = _family("resilience_in_flight", "Calls inside a policy", "policy")
        waiting = _family("resilience_waiting", "Calls in line for a permit", "policy")
        limit = _family("resilience_limit", "How many may be inside", "policy")
        tokens = _family("retry_budget_tokens", "Retries that may still be made at once")
        ejected = _family("outlier_ejected", "Instances left out of balancing")
        known = GaugeMetricFamily("registry_instances", "Live instances known", labels=["callee"])
        edges: dict[str, Any] = {**self._edges.view()}
        for edge, view in edges.items():
            for policy in view["policies"]:
                for family, names in ((in_flight, IN_FLIGHT), (waiting, WAITING), (limit, LIMIT)):
                    for value in _found(policy, names):
                        family.add_metric([edge, policy["kind"]], value)
            if "budget" in view:
                tokens.add_metric([edge], view["budget"]["tokens"])
            if "outlier" in view:
                hosts = view["outlier"]["hosts"].values()
                ejected.add_metric([edge], sum(host["ejected_s"] > 0 for host in hosts))
            callee = edge.partition("->")[2]
            if not edge.startswith("ingress->"):
                known.add_metric([callee], len(self._instances(callee)))
        return [
            each for each in (in_flight, waiting, limit, tokens, ejected, known) if each.samples
        ]


def _family(name: str, says: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, says, labels=["edge", *labels])


def _found(policy: Mapping[str, Any], names: Iterable[str]) -> Iterator[float]:
    """The policy's figure under the first of these names, if it has one."""
    for name in names:
        if name in policy:
            yield float(policy[name])
            return
