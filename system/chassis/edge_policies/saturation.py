"""How full an instance is: its event loop, its policies, the instances it can call.

The gauges are computed at each scrape, so a request pays nothing for them.
"""

import asyncio
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from chassis.background import until_beat_s
from chassis.clock import SystemClock
from chassis.edge_policies.switches import PolicySwitches
from chassis.telemetry.histogram import Histogram
from chassis.telemetry.metrics import gauge

LOOP_LAG_SECONDS = Histogram("event_loop_lag_seconds", "Delay of a timer in the event loop")
CLOCK = gauge("clock_seconds", "Wall clock of the service, seconds since 1970")
CONNECTED = gauge("broker_connected", "1 while the broker is connected, else 0")
TICK_S = 0.1
READ_S = 20.0  # longer than from one scrape to the next
# the fields of a policy's snapshot, by metric: the first one that the policy has is used
IN_FLIGHT, WAITING, LIMIT = ("in_flight",), ("waiting",), ("permits", "limit", "capacity")


class LoopLag:
    """Observes the delay of a timer in the event loop, while the metrics are read.

    Ten ticks a second were a third of what an idle process costs. No scrape would show the others.
    """

    def __init__(self, clock: SystemClock) -> None:
        self._clock = clock
        self._until_s = -math.inf
        self._read = asyncio.Event()

    def read(self) -> None:
        """The metrics are read now: observe for READ_S."""
        self._until_s = self._clock.monotonic() + READ_S
        self._read.set()

    async def watch(self) -> None:
        """Observe each tick, until cancelled.

        Ticks that a blocked loop missed are observed too, each with its own delay. Otherwise a block of
        one second would count as little as one tick (coordinated omission).
        """
        while True:
            await self._read.wait()
            now = self._clock.monotonic()
            due = now + until_beat_s(TICK_S)
            while now < self._until_s:
                await asyncio.sleep(due - self._clock.monotonic())
                now = self._clock.monotonic()
                while due <= now:
                    LOOP_LAG_SECONDS.observe(now - due)
                    due += TICK_S
            self._read.clear()


class Saturation(Collector):
    """The state of each edge's policies, and the known instances of each callee."""

    def __init__(
        self, edges: PolicySwitches, instances: Callable[[str], list[Any]], loop_lag: LoopLag
    ) -> None:
        self._edges = edges
        self._loop_lag = loop_lag
        self._instances = instances

    def describe(self) -> Iterable[Metric]:
        """Nothing: without it, a registry collects when a collector is added, which is no scrape."""
        return []

    def collect(self) -> Iterable[Metric]:
        self._loop_lag.read()
        in_flight = _family("resilience_in_flight", "Calls inside a policy", "policy")
        waiting = _family("resilience_waiting", "Calls waiting for a permit", "policy")
        limit = _family("resilience_limit", "Calls allowed at the same time", "policy")
        tokens = _family("retry_budget_tokens", "Retries that the budget allows at once")
        ejected = _family("outlier_ejected", "Instances ejected from load balancing")
        known = GaugeMetricFamily(
            "registry_instances", "Live instances of a callee", labels=["callee"]
        )
        edges: dict[str, Any] = {**self._edges.view()}
        for edge, view in edges.items():
            for policy in view["policies"]:
                for family, names in ((in_flight, IN_FLIGHT), (waiting, WAITING), (limit, LIMIT)):
                    for value in _first_value(policy, names):
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


def _family(name: str, help_text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, help_text, labels=["edge", *labels])


def _first_value(policy: Mapping[str, Any], names: Iterable[str]) -> Iterator[float]:
    """The value of the first of these fields that the policy has; nothing if it has none."""
    for name in names:
        if name in policy:
            yield float(policy[name])
            return
