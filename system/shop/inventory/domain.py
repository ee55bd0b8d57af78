"""The states of a reservation, and the goods that each command moves. No I/O."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, StrEnum
from typing import Any


class Status(StrEnum):
    HELD = "held"
    RELEASED = "released"
    COMMITTED = "committed"
    EXPIRED = "expired"
    RETURNED = "returned"


class Command(StrEnum):
    RESERVE = "reserve"
    RELEASE = "release"
    COMMIT = "commit"
    RETURN = "return"


class Move(Enum):
    """The change of (on_hand, reserved, shipped) per unit. Each sums to 0, so that no unit is lost."""

    RESERVE = (-1, +1, 0)
    PUT_BACK = (+1, -1, 0)
    SHIP = (0, -1, +1)
    SHIP_FROM_HAND = (-1, 0, +1)
    TAKE_BACK = (+1, 0, -1)

    @property
    def needs_stock(self) -> bool:
        return self.value[0] < 0


@dataclass(frozen=True, slots=True, order=True)
class Line:
    sku: str
    quantity: int


@dataclass(frozen=True, slots=True)
class Reservation:
    """Lines are merged and sorted by SKU. A tombstone (release of an unknown order) has none."""

    order_id: str
    status: Status
    lines: tuple[Line, ...]
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Stock:
    """The counts of one SKU. `on_hand` is free to be reserved."""

    sku: str
    initial: int
    on_hand: int
    reserved: int
    shipped: int
    version: int


class UnknownSkuError(Exception):
    """There is no such SKU."""

    def __init__(self, skus: Iterable[str]) -> None:
        listed = sorted(skus)
        super().__init__(f"unknown SKU: {', '.join(listed)}")
        self.extra: dict[str, Any] = {"skus": listed}


class StockNotFoundError(Exception):
    """There is no stock of this SKU."""


class OutOfStockError(Exception):
    """Not enough on hand. Definite: nothing was reserved."""

    def __init__(self, sku: str, wanted: int, available: int) -> None:
        super().__init__(f"{sku}: {wanted} wanted, {available} available")
        self.extra: dict[str, Any] = {"sku": sku, "wanted": wanted, "available": available}


class ReservationReleasedError(Exception):
    """The order's reservation was released before, so it gets no new one."""


class ReservationLostError(Exception):
    """The reservation expired, and other orders have the goods."""


class ReservationDiffersError(Exception):
    """The order already has a reservation of other goods."""


class ReservationNotFoundError(Exception):
    """The order has no reservation."""


class WrongStateError(Exception):
    """The reservation does not allow this command. The answer contains its `status`."""

    def __init__(self, command: Command, status: Status) -> None:
        super().__init__(f"cannot {command} a reservation that is {status}")
        self.extra: dict[str, Any] = {"status": status.value}


@dataclass(frozen=True, slots=True)
class Step:
    """The status after a command, and how it moves the goods; None: they do not move."""

    status: Status
    move: Move | None = None


STEPS = {
    (Command.RESERVE, Status.HELD): Step(Status.HELD),
    (Command.RESERVE, Status.COMMITTED): Step(Status.COMMITTED),
    (Command.RESERVE, Status.EXPIRED): Step(Status.HELD, Move.RESERVE),
    (Command.RELEASE, Status.HELD): Step(Status.RELEASED, Move.PUT_BACK),
    (Command.RELEASE, Status.EXPIRED): Step(Status.RELEASED),
    (Command.RELEASE, Status.RELEASED): Step(Status.RELEASED),
    (Command.COMMIT, Status.HELD): Step(Status.COMMITTED, Move.SHIP),
    # expired but paid for: still possible while there is stock
    (Command.COMMIT, Status.EXPIRED): Step(Status.COMMITTED, Move.SHIP_FROM_HAND),
    (Command.COMMIT, Status.COMMITTED): Step(Status.COMMITTED),
    (Command.RETURN, Status.COMMITTED): Step(Status.RETURNED, Move.TAKE_BACK),
    (Command.RETURN, Status.RETURNED): Step(Status.RETURNED),
}


def decide(command: Command, reservation: Reservation) -> Step:
    """The step that `command` takes. Raises ReservationReleasedError, WrongStateError."""
    step = STEPS.get((command, reservation.status))
    if step is not None:
        return step
    if reservation.status is Status.RELEASED and command is not Command.RETURN:
        raise ReservationReleasedError(
            f"the reservation of order {reservation.order_id} was released"
        )
    raise WrongStateError(command, reservation.status)


def merged(lines: Iterable[Line]) -> tuple[Line, ...]:
    """One line per SKU, sorted by SKU: rows are locked in this order, so that no deadlock is possible."""
    total: dict[str, int] = {}
    for line in lines:
        total[line.sku] = total.get(line.sku, 0) + line.quantity
    return tuple(Line(sku, quantity) for sku, quantity in sorted(total.items()))
