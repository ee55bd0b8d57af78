"""A virtual clock and a list of events, for every test of the policies."""

import pytest

from chassis.resilience import Event, FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def events() -> list[Event]:
    """Pass `events.append` as the listener."""
    return []
