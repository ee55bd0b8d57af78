"""A budget is passed on in a header, shrinks on the way, and a malformed one is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.resilience import FakeClock, from_header, sooner, to_header
from tests.chassis.resilience.kit import a_call


@given(now=st.floats(0, 1e6), budget_ms=st.integers(0, 10**8))
def test_a_budget_is_passed_on_to_within_a_millisecond(now: float, budget_ms: int) -> None:
    received = from_header(to_header(now + budget_ms / 1000, now), 5.0)
    assert budget_ms - 1 <= (received - 5.0) * 1000 <= budget_ms + 1e-3


def test_a_passed_deadline_is_zero_not_negative() -> None:
    assert to_header(1.0, 3.0) == "0"


@pytest.mark.parametrize("text", ["", "-5", "1.5", "1e3", "abc", "٣", "9" * 30])
def test_a_malformed_budget_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="Breakwater-Budget-Ms"):
        from_header(text, 0.0)


def test_the_sooner_deadline_counts() -> None:
    assert sooner(None, None) is None
    assert sooner(1.0, None) == sooner(None, 1.0) == sooner(1.0, 2.0) == 1.0


def test_remaining_is_never_negative(clock: FakeClock) -> None:
    call = a_call(deadline=2.0)
    clock.tick(1.5)
    assert call.remaining(clock) == 0.5
    clock.tick(1.5)
    assert call.remaining(clock) == 0.0
    assert a_call().remaining(clock) is None
