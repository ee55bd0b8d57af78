"""The checkout as a saga: each step is stored before it runs, and can be repeated.

Before the pivot the saga can be compensated; after it, it only goes forward. A definite refusal starts the
compensation. A step with an unknown outcome is retried, because every step is idempotent.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from shop.orders.domain import Order


class StepRefusedError(Exception):
    """The step definitely did not happen: compensate the saga for this reason."""

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
    """The services that the steps call."""

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
    """A step with a compensation."""
    return Step(do.__name__, do, undo)


def pivot(do: Action, undo: Action) -> Step:
    """The deciding step: once it has started, the saga goes forward unless the step is refused."""
    return Step(do.__name__, do, undo, pivot=True)


def retried(do: Action) -> Step:
    """A step after the pivot: retried until it succeeds."""
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


# The transaction that ends the saga confirms the order. `commit_stock` can still be refused (the reservation
# expired and the stock is gone): then the captured money is refunded.
CHECKOUT = (
    step(reserve_stock, undo=release_stock),
    step(authorize_payment, undo=void_authorization),
    pivot(capture_payment, undo=refund_payment),
    retried(commit_stock),
)
# The customer cancels a confirmed order.
CANCELLATION = (retried(refund_payment), retried(take_stock_back))
SAGAS: dict[str, tuple[Step, ...]] = {"checkout": CHECKOUT, "cancellation": CANCELLATION}

Direction = Literal["forward", "backward"]


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of one saga. `started`: the current step may have happened already."""

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
    stored: bool = False  # the start of the current step is stored, under a new lease

    @property
    def steps(self) -> tuple[Step, ...]:
        return SAGAS[self.kind]

    @property
    def step(self) -> Step | None:
        """The step to run or to undo next; None when the saga is complete."""
        return self.steps[self.at] if 0 <= self.at < len(self.steps) else None

    @property
    def may_compensate(self) -> bool:
        pivots = [index for index, step in enumerate(self.steps) if step.pivot]
        if self.direction == "backward" or not pivots:
            return False
        return self.at < pivots[0] or (self.at == pivots[0] and not self.started)

    def begun(self) -> "Progress":
        """The step starts now: store this first."""
        return self._logged("started", started=True)

    def done(self) -> "Progress":
        """The step succeeded, or was undone."""
        if self.direction == "forward":
            return self._logged("done", at=self.at + 1, started=False, attempts=0)
        return self._logged("compensated", at=self.at - 1, attempts=0)

    def skipped(self) -> "Progress":
        """The current step has no compensation: go to the one before."""
        return replace(self, at=self.at - 1, attempts=0)

    def retrying(self) -> "Progress":
        """The outcome is unknown: retry the same step."""
        return replace(self, attempts=self.attempts + 1)

    def refused(self, reason: str) -> "Progress":
        """The current step definitely did not happen: undo the steps before it."""
        compensating = self._logged("failed", direction="backward", at=self.at - 1, attempts=0)
        return replace(compensating, reason=reason)

    def compensating(self, reason: str) -> "Progress":
        """Undo the completed steps, and the current one if it was started."""
        at = self.at if self.started else self.at - 1
        return replace(self, direction="backward", at=at, attempts=0, reason=reason)

    def _logged(self, phase: str, **changes: object) -> "Progress":
        name = self.steps[self.at].name
        log = (*self.log, (name, phase))
        return replace(self, log=log, stored=False, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Ended:
    """An order at the end of its saga. `cancellation` runs next if the customer cancelled after the pivot."""

    order: Order
    cancellation: Progress | None = None
