"""The checkout saga with fakes that refuse, lose answers and crash: money and stock must balance at the end."""

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.clock import SystemClock
from shop.orders.domain import Line, Order
from shop.orders.runner import SagaRunner
from shop.orders.saga import CHECKOUT, Ports, Progress
from tests.shop.orders.fakes import FakeInventory, FakePayments, FakeStore

ORDER = Order("o1", "u1", "u@example.com", (Line("SKU-0001", 2, 500),), "4242424242424242")


class Checkout:
    """One order's saga with its fake services and store."""

    def __init__(self, seed: int = 0, share: float = 0.0) -> None:
        rng = Random(seed)
        self.inventory = FakeInventory(rng, share)
        self.payments = FakePayments(rng, share)
        self.store = FakeStore(Progress(ORDER))
        ports = Ports(self.inventory, self.payments)
        self.runner = SagaRunner(self.store, ports, SystemClock(), self._record, rng)

    def _record(self, *_: Any, **__: Any) -> None:
        return None

    async def run(self, times_max: int = 200) -> str:
        """Run and resume until the saga has ended."""
        for _ in range(times_max):
            if self.store.ended and (await self.store.load("o1")) is None:
                break
            await self.runner.run(self.store.saved)
        return self.store.ended

    @property
    def state(self) -> tuple[str, str]:
        return self.inventory.state, self.payments.state


async def test_a_good_order_is_reserved_authorized_captured_committed_and_confirmed() -> None:
    checkout = Checkout()
    assert await checkout.run() == "confirmed"
    assert checkout.state == ("committed", "captured")
    assert checkout.store.log == [
        (step.name, phase) for step in CHECKOUT for phase in ("started", "done")
    ]


async def test_a_declined_card_releases_the_stock_and_moves_no_money() -> None:
    checkout = Checkout()
    checkout.payments.declines = True
    assert await checkout.run() == "cancelled"
    assert checkout.state == ("released", "")
    assert checkout.store.log[-2:] == [
        ("authorize_payment", "failed"),
        ("reserve_stock", "compensated"),
    ]


async def test_without_stock_there_is_nothing_to_undo() -> None:
    checkout = Checkout()
    checkout.inventory.out_of_stock = True
    assert await checkout.run() == "cancelled"
    assert checkout.state == ("", "")


async def test_a_lost_reservation_after_the_capture_is_refunded() -> None:
    checkout = Checkout()
    checkout.inventory.lost = True
    assert await checkout.run() == "cancelled"
    assert checkout.state == ("released", "refunded")


async def test_a_cancellation_before_the_pivot_compensates_the_saga() -> None:
    checkout = Checkout()
    checkout.store.cancel_requested = True
    assert await checkout.run() == "cancelled"
    assert checkout.payments.captures == 0
    assert checkout.payments.state in ("", "voided")


async def test_a_saga_past_its_deadline_is_compensated_before_the_pivot_but_not_after() -> None:
    early = Progress(ORDER, at=1, started=True, overdue=True)
    late = Progress(ORDER, at=2, started=True, overdue=True)
    assert early.may_compensate
    assert not late.may_compensate
    checkout = Checkout()
    checkout.inventory.state = "held"
    checkout.store.saved = early
    assert await checkout.run() == "cancelled"
    assert checkout.state == (
        "released",
        "voided",
    )  # voided: the outcome of the authorization was unknown


@pytest.mark.parametrize("write", range(6))
async def test_after_a_crash_at_any_write_the_saga_has_the_same_end(
    write: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = Checkout()
    persist = checkout.store.persist

    async def crashing(progress: Progress, *, park_s: float | None = None) -> Progress | None:
        saved = await persist(progress, park_s=park_s)
        if checkout.store.writes == write + 1:
            raise KeyboardInterrupt
        return saved

    monkeypatch.setattr(checkout.store, "persist", crashing)
    try:
        await checkout.run()
    except KeyboardInterrupt:
        assert await checkout.run() == "confirmed"
    assert checkout.state == ("committed", "captured")
    assert checkout.payments.captures == 1


@given(
    seed=st.integers(0, 2**32),
    share=st.floats(0, 0.6),
    declines=st.booleans(),
    out_of_stock=st.booleans(),
    lost=st.booleans(),
    cancelled=st.booleans(),
)
async def test_money_and_stock_balance_however_unreliable_the_services_are(
    seed: int, share: float, declines: bool, out_of_stock: bool, lost: bool, cancelled: bool
) -> None:
    checkout = Checkout(seed, share)
    checkout.payments.declines, checkout.inventory.out_of_stock = declines, out_of_stock
    checkout.inventory.lost = lost
    checkout.store.cancel_requested = cancelled
    ended = await checkout.run(2000)
    held, paid = checkout.state
    assert checkout.payments.captures <= 1
    if ended == "confirmed":
        assert (held, paid) == ("committed", "captured")
    else:
        assert ended == "cancelled"
        assert held in ("", "released", "returned")
        assert paid in ("", "voided", "refunded")
