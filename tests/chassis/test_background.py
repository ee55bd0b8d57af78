"""A background task that fails is restarted; only an unexpected error is logged as an error."""

import logging

import asyncpg
import pytest
from asyncpg.exceptions._base import DataError as ClientDataError

from chassis.background import supervise, until_beat_s
from chassis.clock import SystemClock
from chassis.resilience.errors import CallFailedError


@pytest.mark.parametrize(
    ("error", "level", "traceback"),
    [
        (ConnectionRefusedError("refused"), logging.WARNING, False),
        (TimeoutError(), logging.WARNING, False),
        (CallFailedError("no answer"), logging.WARNING, False),
        (asyncpg.InterfaceError("the pool is closed"), logging.WARNING, False),
        (KeyError("sku"), logging.ERROR, True),
        (asyncpg.DataError("a value"), logging.ERROR, True),
        (ClientDataError("a value"), logging.ERROR, True),  # an InterfaceError, and no outage
    ],
)
async def test_an_unreachable_dependency_is_a_warning_and_a_bug_is_an_error_with_traceback(
    error: Exception, level: int, traceback: bool, caplog: pytest.LogCaptureFixture
) -> None:
    failures = [error]

    async def work() -> None:
        if failures:
            raise failures.pop()

    with caplog.at_level(logging.INFO, logger="chassis.background"):
        await supervise("sweeper", work, SystemClock())

    (record,) = caplog.records
    assert (record.levelno, record.exc_info is not None) == (level, traceback)
    assert traceback or (str(error) or "TimeoutError") in record.getMessage()


@pytest.mark.parametrize(("now_s", "left_s"), [(10.25, 0.75), (10.0, 1.0), (10.95, 1.05)])
def test_periodic_work_wakes_at_multiples_of_its_period(
    monkeypatch: pytest.MonkeyPatch, now_s: float, left_s: float
) -> None:
    """Too close to a beat, it waits for the next: a timer may fire a little early."""
    monkeypatch.setattr("time.monotonic", lambda: now_s)
    assert until_beat_s(1.0) == pytest.approx(left_s)
