"""A background task that fails is restarted; only an unexpected error is logged as an error."""

import logging

import asyncpg
import pytest
from asyncpg.exceptions._base import DataError as ClientDataError

from chassis.background import supervise
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
