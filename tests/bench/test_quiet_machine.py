"""The threshold that bench/quiet_machine.py derives, from given windows."""

import psutil
import pytest

from bench.quiet_machine import DISTURBER, LEVELS, Window, bound, derive, disturbers, plan
from tests.fixtures.waiting import wait_until


def window(level: int, p95_ms: float, errors: float = 0.0) -> Window:
    return Window(level, level / 200, level / 200 + 0.01, 0.2, 100, p95_ms, errors)


UNDISTURBED = [window(0, p95_ms) for p95_ms in (98.0, 99.0, 100.0, 101.0, 102.0)]


def test_the_threshold_lies_where_the_effect_passes_the_bound() -> None:
    assert bound(UNDISTURBED) == pytest.approx(0.0953, abs=0.0001), "quiet windows: the margin"
    found = derive([*UNDISTURBED, window(50, 100.0), window(100, 121.0)])
    # log 1.1 is half of log 1.21, so half of the way from 25% to 50% of all CPUs
    assert found["threshold"] == pytest.approx(0.375)
    assert [each["above"] for each in found["levels"]] == [0.0, 0.0, 1.0]


def test_without_an_effect_there_is_no_threshold_and_a_faster_window_is_none() -> None:
    assert derive([*UNDISTURBED, window(50, 60.0), window(100, 105.0)])["threshold"] is None


def test_errors_alone_end_the_tolerated_levels() -> None:
    found = derive([*UNDISTURBED, window(50, 100.0), window(100, 100.0, errors=0.2)])
    assert found["threshold"] == pytest.approx(0.25)


def test_noisy_undisturbed_windows_widen_the_bound() -> None:
    noisy = [window(0, p95_ms) for p95_ms in (60.0, 90.0, 100.0, 130.0, 180.0)]
    assert bound(noisy) > 1.0
    assert derive([*noisy, window(100, 150.0)])["threshold"] is None


def test_each_level_has_an_undisturbed_window_before_it_in_every_round() -> None:
    order = plan(2)
    assert order[::2] == [0] * (2 * len(LEVELS))
    assert order[1::2] == [*LEVELS, *reversed(LEVELS)]


def test_disturbers_take_cpu_and_end() -> None:
    def running() -> list[psutil.Process]:
        children = psutil.Process().children()
        return [each for each in children if DISTURBER in each.cmdline()]

    with disturbers(150) as got:
        wait_until(lambda: [each for each in running() if sum(each.cpu_times()[:2])], "CPU time")
        assert len(running()) == 2
    assert 0.0 < got[0] <= 1.0
    assert running() == []
    with disturbers(0) as got:
        pass
    assert got == [0.0]
