"""The checkout as a saga: each step is persisted before it is made, and can be made again.

Forward until the pivot there is a way back; past it only forward. A step that is definitely refused
turns the saga back; one whose outcome is unknown is asked again, because every step is idempotent.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from shop.orders.domain import Order


class StepRefusedError(Exception):
    """A step definitely did not happen and will not: turn back, for this reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Inventory(Protocol):
    async def reserve(self, order: Order) -> None: ...
    async def release(self, order: Order) -> None: ...
    async def commit(self, order: Order) -> None: ...
    async def take_back(self, order: Order) -> None: ...


class Payments(Protocol):
    async def authorize(self, order: Order) -> None: ...
    async def void(self, order: Order) -> None: ...
    async def capture(self, order: Order) -> None: ...
    async def refund(self, order: Order) -> None: ...


@dataclass(frozen=True, slots=True)
class Ports:
    """Whom the steps talk to."""

    inventory: Inventory
    payments: Payments


Action = Callable[[Ports, Order], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Step:
    name: str
    do: Action
    undo: Action | None
    pivot: bool = False


def step(do: Action, undo: Action) -> Step:
    """A step with a way back."""
    return Step(do.__name__, do, undo)


def pivot(do: Action, undo: Action) -> Step:
    """The step that decides: once started, the saga goes forward unless the step is refused."""
    return Step(do.__name__, do, undo, pivot=True)


def retried(do: Action) -> Step:
    """A step past the pivot: asked again until it is done."""
    return Step(do.__name__, do, None)


async def reserve_stock(ports: Ports, order: Order) -> None:
    await ports.inventory.reserve(order)


async def release_stock(ports: Ports, order: Order) -> None:
    await ports.inventory.release(order)


async def authorize_payment(ports: Ports, order: Order) -> None:
    await ports.payments.authorize(order)


async def void_authorization(ports: Ports, order: Order) -> None:
    await ports.payments.void(order)


async def capture_payment(ports: Ports, order: Order) -> None:
    await ports.payments.capture(order)


async def refund_payment(ports: Ports, order: Order) -> None:
    await ports.payments.refund(order)


async def commit_stock(ports: Ports, order: Order) -> None:
    await ports.inventory.commit(order)


async def take_stock_back(ports: Ports, order: Order) -> None:
    await ports.inventory.take_back(order)


# The order is confirmed in the transaction that ends the saga. `commit_stock` can still be refused
# (the reservation expired and the stock is gone): then the captured money is refunded.
CHECKOUT = (
    step(reserve_stock, undo=release_stock),
    step(authorize_payment, undo=void_authorization),
    pivot(capture_payment, undo=refund_payment),
    retried(commit_stock),
)
# A confirmed order that the customer cancels.
CANCELLATION = (retried(refund_payment), retried(take_stock_back))
SAGAS: dict[str, tuple[Step, ...]] = {"checkout": CHECKOUT, "cancellation": CANCELLATION}

Direction = Literal["forward", "backward"]


@dataclass(frozen=True, slots=True)
class Progress:
    """Where one saga stands. `started` says that the current step may have happened already."""

    order: Order
    kind: str = "checkout"
    at: int = 0
    direction: Direction = "forward"
    started: bool = False
    attempts: int = 0
    reason: str = ""
    cancel_requested: bool = False
    overdue: bool = False
    log: tuple[tuple[str, str], ...] = field(default=())

    @property
    def steps(self) -> tuple[Step, ...]:
        return SAGAS[self.kind]

    @property
    def step(self) -> Step | None:
        """The step to make or to undo next; None when there is nothing left to do."""
        return self.steps[self.at] if 0 <= self.at < len(self.steps) else None

    @property
    def may_turn_back(self) -> bool:
        pivots = [index for index, step in enumerate(self.steps) if step.pivot]
        if self.direction == "backward" or not pivots:
            return False
        return self.at < pivots[0] or (self.at == pivots[0] and not self.started)

    def begun(self) -> "Progress":
        """The step is about to be made: persist this first."""
        return self._noted("started", started=True)

    def done(self) -> "Progress":
        """The step was made (or undone)."""
        if self.direction == "forward":
            return self._noted("done", at=self.at + 1, started=False, attempts=0)
        return self._noted("compensated", at=self.at - 1, attempts=0)

    def skipped(self) -> "Progress":
        """Going back, this step has nothing to undo."""
        return replace(self, at=self.at - 1, attempts=0)

    def again(self) -> "Progress":
        """The outcome is unknown: the same step another time."""
        return replace(self, attempts=self.attempts + 1)

    def refused(self, reason: str) -> "Progress":
        """The current step did definitely not happen: undo those before it."""
        turned = self._noted("failed", direction="backward", at=self.at - 1, attempts=0)
        return replace(turned, reason=reason)

    def turned_back(self, reason: str) -> "Progress":
        """Give up on the way: undo what was made, and the current step if it was started."""
        at = self.at if self.started else self.at - 1
        return replace(self, direction="backward", at=at, attempts=0, reason=reason)

    def _noted(self, phase: str, **changes: object) -> "Progress":
        name = self.steps[self.at].name
        return replace(self, log=(*self.log, (name, phase)), **changes)  # type: ignore[arg-type]
