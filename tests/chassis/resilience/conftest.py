"""A virtual clock and an ear, for every test of the policies."""

import pytest

from chassis.resilience import Event, FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def heard() -> list[Event]:
    """Pass `heard.append` as a listener."""
    return []
