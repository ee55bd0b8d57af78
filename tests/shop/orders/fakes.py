"""Fakes of the services and the store of a saga. They keep the true state for the test."""

from dataclasses import replace
from random import Random

from chassis.resilience.errors import CallFailedError
from shop.orders.domain import Order
from shop.orders.saga import Ended, Progress, StepRefusedError


class Unreliable:
    """May fail before each effect, and may lose the answer after it."""

    def __init__(self, rng: Random | None = None, share: float = 0.0) -> None:
        self.rng = rng or Random(0)
        self.share = share

    def before(self) -> None:
        if self.rng.random() < self.share:
            raise CallFailedError("refused", definite=True)

    def after(self) -> None:
        if self.rng.random() < self.share:
            raise CallFailedError("lost", definite=False)


class FakeInventory(Unreliable):
    """One order's reservation: '', held, committed, released, returned."""

    def __init__(self, rng: Random | None = None, share: float = 0.0) -> None:
        super().__init__(rng, share)
        self.state = ""
        self.out_of_stock = False
        self.lost = False

    async def reserve(self, order: Order) -> None:
        self.before()
        if self.out_of_stock or self.state == "released":
            raise StepRefusedError("out_of_stock")
        self.state = self.state or "held"
        self.after()

    async def release(self, order: Order) -> None:
        self.before()
        if self.state != "committed":
            self.state = "released"
        self.after()

    async def commit(self, order: Order) -> None:
        self.before()
        if self.lost:
            raise StepRefusedError("reservation-lost")
        assert self.state in ("held", "committed"), self.state
        self.state = "committed"
        self.after()

    async def take_back(self, order: Order) -> None:
        self.before()
        assert self.state in ("committed", "returned"), self.state
        self.state = "returned"
        self.after()


class FakePayments(Unreliable):
    """One order's payment: '', authorized, captured, voided, refunded."""

    def __init__(self, rng: Random | None = None, share: float = 0.0) -> None:
        super().__init__(rng, share)
        self.state = ""
        self.captures = 0
        self.declines = False

    async def authorize(self, order: Order) -> None:
        self.before()
        if self.declines or self.state == "voided":
            raise StepRefusedError("payment_declined")
        self.state = self.state or "authorized"
        self.after()

    async def void(self, order: Order) -> None:
        self.before()
        if self.state in ("", "authorized", "voided"):
            self.state = "voided"
        self.after()

    async def capture(self, order: Order) -> None:
        self.before()
        assert self.state in ("authorized", "captured"), self.state
        self.captures += self.state == "authorized"
        self.state = "captured"
        self.after()

    async def refund(self, order: Order) -> None:
        self.before()
        if self.state == "captured":
            self.state = "refunded"
        self.after()


class FakeStore:
    """Stores one saga in memory. A crash may happen at every write."""

    def __init__(self, progress: Progress) -> None:
        self.saved = replace(progress, log=())
        self.log: list[tuple[str, str]] = []
        self.ended = ""
        self.cancel_requested = False
        self.writes = 0

    async def persist(self, progress: Progress, *, park_s: float | None = None) -> Progress | None:
        self.writes += 1
        self.log += progress.log
        seen = progress.cancel_requested or self.cancel_requested
        self.saved = replace(progress, log=(), stored=False, cancel_requested=seen)
        return replace(self.saved, stored=True)

    async def finish(self, progress: Progress) -> Ended:
        await self.persist(progress)
        forward = progress.kind == "checkout" and progress.direction == "forward"
        self.ended = "confirmed" if forward else "cancelled"
        if forward and self.cancel_requested:
            self.saved = Progress(progress.order, "cancellation", reason="customer")
            return Ended(progress.order, self.saved)
        return Ended(progress.order)

    async def claim(self, limit: int) -> list[tuple[str, str]]:
        return []

    async def load(self, order_id: str) -> Progress | None:
        return None if self.ended else self.saved

    async def count_pending(self, near_deadline_s: float) -> tuple[int, int, int]:
        return 0, 0, 0
