"""A small shop in simulated time: the experiment payments_slow, from a seed, as rows of an archive.

This is not the shop's code, but an independent, simple model that is consistent by construction. A
checker is wrong if it reports a violation of the clean run, or misses a planted bug. Only the breaker
is the real one, on a simulated clock.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from chassis.resilience.breaker import Breaker
from chassis.resilience.errors import BreakerOpenError
from chassis.resilience.events import Event
from lab.load.profiles import ACTIONS, Profile
from lab.load.schedule import make_schedule
from tests.lab.analysis.shopper_rows import add_shoppers
from tests.lab.analysis.simulated_databases import Bought, Databases, Row

START_S = 1_800_000_000.0
PHASES = {
    **{"warmup": (0.0, 5.0), "before": (5.0, 20.0), "method": (20.0, 40.0)},
    **{"recovery": (40.0, 45.0), "after": (45.0, 60.0), "drain": (60.0, 66.0)},
}
FAULT = (20.1, 35.1)  # the bank answers 2 s late
LOAD_END_S = 60.0
PROFILE = Profile(name="steady", rate_per_s={"list": 8.0, "product": 12.0, "order": 8.0})
SKUS = 40
GOOD_CARD, BAD_CARD = "4242424242424242", "4000000000000002"
GUESTS, CANCEL_AFTER_S = 12, 1.0
PATIENCE_S = 2.5  # the wait for the saga; then the answer is 202
TIMEOUT_S = 0.5  # payments -> bank


class SimClock:
    """The simulated time, with the interface that the breaker requires."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s


@dataclass
class Checkout(Bought):
    """One order in progress."""

    came_s: float
    seq: int
    cancelled_later: bool
    answered: bool = False

    @property
    def card_ok(self) -> bool:
        return self.card == GOOD_CARD


@dataclass
class Shop:
    """Simulates the experiment. Afterwards `tables` and `state` contain the rows of the archive."""

    seed: int = 1
    tables: dict[str, list[Row]] = field(default_factory=dict)
    state: dict[str, list[Row]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rng = Random(self.seed)
        self.schedule = make_schedule(PROFILE, self.seed, LOAD_END_S)
        self.clock = SimClock()
        self.tables = {
            name: [] for name in ("requests", "spans", "logs", "metrics", "breakers", "history")
        }
        fixed = Random(0)
        prices = {f"SKU-{n:04d}": fixed.randrange(500, 9000) for n in range(1, SKUS + 1)}
        self.databases = Databases(prices, [f"user{n:03d}" for n in range(1, 21)], self.state)
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.breaker = Breaker(
            "payments->bank", window_size=20, minimum_calls=10, wait_open_s=3.0,
            permitted_half_open=3, clock=self.clock, listener=self._record,  # type: ignore[arg-type]
        )  # fmt: skip

    def run(self) -> Shop:
        seq = itertools.count()
        for arrival in self.schedule.arrivals:
            at = arrival.at_s
            self._at(at, self._arrive(ACTIONS[arrival.action], at, next(seq)))
        self._seq = seq
        for guest in range(GUESTS):
            self.databases.register(f"guest-{guest}", START_S + 5.0 * guest)
        while self._heap:
            self.clock.now_s, _, act = heapq.heappop(self._heap)
            act()
        self._scrapes()
        add_shoppers(self.tables, self.state, START_S)
        self.tables["requests"].sort(key=lambda row: row["seq"])
        return self

    def _at(self, when_s: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (when_s, next(self._order), act))

    def _arrive(self, route: str, at: float, seq: int) -> Callable[[], None]:
        return lambda: (
            self._order_comes(at, seq) if route.startswith("POST") else self._browse(route, at, seq)
        )

    def _browse(self, route: str, at: float, seq: int) -> None:
        took = self.rng.lognormvariate(-4.9, 0.45)
        trace_id = self._hex(32)
        self._request(route, at, at + took, seq, 200, "ok", trace_id)
        self._span(trace_id, "gateway", route.replace("/api", ""), "server", at, at + took)

    def _order_comes(self, at: float, seq: int) -> None:
        prices = self.databases.prices
        skus = self.rng.sample(sorted(prices), self.rng.choice((1, 1, 2)))
        checkout = Checkout(
            f"order-{seq:05d}", f"user{self.rng.randrange(1, 21):03d}", f"key-{seq:05d}",
            [(sku, self.rng.choice((1, 1, 2)), prices[sku]) for sku in skus],
            GOOD_CARD if self.rng.random() > 0.05 else BAD_CARD, self._hex(32),
            at, seq, self.rng.random() < 0.05,
        )  # fmt: skip
        self._history(checkout, "place", "invoke", {})
        self.databases.place(checkout, START_S + at)
        for phase in ("started", "done"):
            self._saga(checkout, "reserve_stock", phase)
        self._at(at + PATIENCE_S, lambda: self._answer(checkout, 202))
        self._at(at + 0.012, lambda: self._pay(checkout))

    def _pay(self, checkout: Checkout) -> None:
        """One call payments -> bank through the breaker."""
        now = self.clock.now_s
        self._saga(checkout, "authorize_payment", "started")
        try:
            era = self.breaker.acquire()
        except BreakerOpenError:
            self._span(checkout.trace_id, "payments", "/payments", "server", now, now + 0.002, 503)
            self._park(checkout)
            return
        late = FAULT[0] <= now < FAULT[1]
        took = TIMEOUT_S if late else self.rng.lognormvariate(-4.6, 0.3)
        bank_took = 2.0 + took if late else 0.8 * took
        status = 504 if late else 201
        self._span(checkout.trace_id, "payments", "/payments", "server", now, now + took, status)
        self._span(checkout.trace_id, "bank", "/authorizations", "server", now, now + bank_took)
        call = self.tables["spans"][-1] | {"service": "payments", "instance": "payments-1"}
        called = {"breakwater.peer.instance": "bank-1"} | (
            {"error.type": "TimedOut"} if late else {}
        )
        call |= {"kind": "client", "peer": "bank", "span_id": f"{call['span_id']}-call"}
        call |= {"end_ns": int((START_S + now + took) * 1e9), "attributes": called}
        self.tables["spans"].append(call | {"http_status": None if late else 201})

        def settle() -> None:
            self.breaker.record(era, took, failed=late)
            if late:
                self._park(checkout)
            elif checkout.card_ok:
                self._confirm(checkout)
            else:
                self._decline(checkout)

        self._at(now + took, settle)

    def _park(self, checkout: Checkout) -> None:
        self._at(self.clock.now_s + self.rng.uniform(0.2, 1.5), lambda: self._pay(checkout))

    def _confirm(self, checkout: Checkout) -> None:
        now = START_S + self.clock.now_s
        self.databases.pay_and_ship(checkout, now)
        for step in ("authorize_payment", "capture_payment", "commit_stock"):
            if step != "authorize_payment":
                self._saga(checkout, step, "started")
            self._saga(checkout, step, "done")
        self.databases.end(checkout, "confirmed", now)
        self._answer(checkout, 201)
        if checkout.cancelled_later:
            self._at(self.clock.now_s + CANCEL_AFTER_S, lambda: self._cancel(checkout))

    def _decline(self, checkout: Checkout) -> None:
        now = START_S + self.clock.now_s
        self._saga(checkout, "authorize_payment", "failed")
        self._saga(checkout, "reserve_stock", "compensated")
        self.databases.decline(checkout, now)
        self.databases.end(checkout, "cancelled", now, "payment_declined")
        self._answer(checkout, 402)

    def _cancel(self, checkout: Checkout) -> None:
        """The customer cancels a confirmed order."""
        now, trace_id, seq = self.clock.now_s, self._hex(32), next(self._seq)
        self._history(checkout, "cancel", "invoke", {}, f"l-{seq:05d}")
        for step in ("refund_payment", "take_stock_back"):
            for phase in ("started", "done"):
                self._saga(checkout, step, phase)
        self.databases.give_back(checkout, START_S + now)
        self.databases.end(checkout, "cancelled", START_S + now, "customer", "cancellation")
        self._request(
            "POST /api/orders/{id}/cancel", now, now + 0.02, seq, 200, "ok", trace_id,
            order_id=checkout.order_id, session=checkout.user, version=3,
        )  # fmt: skip
        self._span(trace_id, "gateway", "/orders/{id}/cancel", "server", now, now + 0.02)
        answer = {"order_id": checkout.order_id, "http_status": 200}
        self._history(checkout, "cancel", "ok", answer, f"l-{seq:05d}")

    def _answer(self, checkout: Checkout, status: int) -> None:
        if checkout.answered:
            return
        checkout.answered = True
        now = self.clock.now_s + 0.003
        self._request(
            "POST /api/orders", checkout.came_s, now, checkout.seq, status, "ok", checkout.trace_id,
            logical_id=checkout.key, idempotency_key=checkout.key, order_id=checkout.order_id,
            session=checkout.user, version=1,
        )  # fmt: skip
        self._span(checkout.trace_id, "gateway", "/orders", "server", checkout.came_s, now, status)
        kind = "fail" if status == 402 else "ok"
        self._history(
            checkout, "place", kind, {"order_id": checkout.order_id, "http_status": status}
        )

    def _request(
        self, route: str, came: float, end: float, seq: int, status: int, outcome: str,
        trace_id: str, **more: Any,
    ) -> None:  # fmt: skip
        lag = self.rng.expovariate(1500.0)
        row = {
            **{"seq": seq, "arm": "control", "session": "user001", "route": route},
            **{"method": route.split(maxsplit=1)[0], "logical_id": f"l-{seq:05d}", "attempt_no": 1},
            **{"intended_start_s": START_S + came, "end_s": START_S + end + lag, "status": status},
            **{"actual_start_s": START_S + came + lag},
            **{"outcome": outcome, "error": None, "request_id": trace_id, "bytes": 400},
            **{"idempotency_key": None, "order_id": None, "version": None, "dropped": False},
        }
        self.tables["requests"].append(row | more)

    def _span(
        self, trace_id: str, service: str, route: str, kind: str, start: float, end: float,
        status: int = 200,
    ) -> None:  # fmt: skip
        self.tables["spans"].append(
            {
                **{"trace_id": trace_id, "span_id": self._hex(16), "parent_span_id": ""},
                **{"service": service, "instance": f"{service}-1", "arm": "control"},
                **{"name": route, "kind": kind, "http_route": route, "http_status": status},
                **{"start_ns": int((START_S + start) * 1e9), "end_ns": int((START_S + end) * 1e9)},
                **{"status": "error" if status >= 500 else "unset", "attributes": {}},
            }
        )

    def _saga(self, checkout: Checkout, step: str, phase: str) -> None:
        self.databases.log_saga(checkout, step, phase, START_S + self.clock.now_s)
        if phase == "started":
            return  # the shop writes no log line for it
        fields = {"event": "saga", "order_id": checkout.order_id, "step": step, "phase": phase}
        self.tables["logs"].append(
            {
                **{"time_s": START_S + self.clock.now_s, "level": "info", "message": "saga"},
                **{"service": "orders", "instance": "orders-1", "trace_id": checkout.trace_id},
                "attributes": fields,
            }
        )

    def _history(
        self, checkout: Checkout, f: str, kind: str, value: Row, logical_id: str = ""
    ) -> None:
        process = f"{checkout.user}/{logical_id or checkout.key}"
        self.tables["history"].append(
            {
                **{"process": process, "type": kind, "f": f},
                **{"key": checkout.key, "value": str(value), "error": None},
                "time_s": START_S + self.clock.now_s,
            }
        )

    def _record(self, event: Event) -> None:
        self.tables["breakers"].append(
            {
                **{"time_s": START_S + self.clock.now_s, "service": "payments"},
                **{"instance": "payments-1", "edge": event.edge, "policy": event.policy},
                **{"kind": event.kind, "state": str(event.state), "previous": str(event.previous)},
                **{"reason": event.reason, "n": event.n, "failures": event.failures},
                **{"slow": event.slow, "details": {}},
            }
        )

    def _scrapes(self) -> None:
        names = ("gateway-1", "gateway-2", "orders-1", "orders-2", "payments-1", "bank-1")
        for second in range(66):
            for name in names:
                row = {"time_s": START_S + second, "service": name[:-2], "instance": name}
                self.tables["metrics"].append(row | {"name": "up", "labels": {}, "value": 1.0})

    def _hex(self, digits: int) -> str:
        return f"{self.rng.getrandbits(4 * digits):0{digits}x}"
