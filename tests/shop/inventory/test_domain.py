"""The states of a reservation, without a database."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shop.inventory.domain import (
    STEPS,
    Command,
    Line,
    Move,
    Reservation,
    ReservationReleasedError,
    Status,
    WrongStateError,
    decide,
    merged,
)
from shop.inventory.seed import SCARCE_FROM, SKUS, quantity

# status -> the place of a reservation's units
PLACE = {
    Status.HELD: "reserved",
    Status.RELEASED: "on_hand",
    Status.EXPIRED: "on_hand",
    Status.COMMITTED: "shipped",
    Status.RETURNED: "on_hand",
}
PLACES = ("on_hand", "reserved", "shipped")


def reservation(status: Status) -> Reservation:
    return Reservation("order-1", status, (Line("SKU-0001", 1),), None)


@pytest.mark.parametrize("move", list(Move))
def test_no_move_adds_or_loses_units(move: Move) -> None:
    assert sum(move.value) == 0


@pytest.mark.parametrize(("before", "step"), [(key[1], step) for key, step in STEPS.items()])
def test_each_step_moves_goods_between_the_places_of_its_states(
    before: Status, step: object
) -> None:
    after, move = getattr(step, "status"), getattr(step, "move")  # noqa: B009 - one row of a table
    change = dict.fromkeys(PLACES, 0)
    change[PLACE[before]] -= 1
    change[PLACE[after]] += 1
    assert tuple(change.values()) == (move.value if move else (0, 0, 0))


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (Command.RELEASE, Status.COMMITTED),
        (Command.RETURN, Status.HELD),
        (Command.COMMIT, Status.RETURNED),
        (Command.RESERVE, Status.RETURNED),
    ],
)
def test_a_forbidden_command_is_refused_with_the_state(command: Command, status: Status) -> None:
    with pytest.raises(WrongStateError) as wrong:
        decide(command, reservation(status))
    assert wrong.value.extra == {"status": status}


@pytest.mark.parametrize("command", [Command.RESERVE, Command.COMMIT])
def test_a_released_reservation_is_neither_reserved_nor_committed(command: Command) -> None:
    with pytest.raises(ReservationReleasedError):
        decide(command, reservation(Status.RELEASED))


@given(st.lists(st.builds(Line, st.sampled_from(["B", "A", "C"]), st.integers(1, 9)), min_size=1))
def test_merging_keeps_every_unit_and_sorts_by_sku(lines: list[Line]) -> None:
    after = merged(lines)
    assert sum(line.quantity for line in after) == sum(line.quantity for line in lines)
    assert [line.sku for line in after] == sorted({line.sku for line in lines})


def test_the_seed_is_scarce_only_for_the_last_ten_skus() -> None:
    quantities = [quantity(number) for number in range(1, SKUS + 1)]
    assert all(5000 <= units <= 10000 for units in quantities[: SCARCE_FROM - 1])
    assert all(5 <= units <= 20 for units in quantities[SCARCE_FROM - 1 :])
