"""The arrival schedule: same seed, same arrivals; the planned rates; the right gaps."""

import itertools
import statistics
from typing import Any

import pytest

from lab.load.profiles import Profile, Surge
from lab.load.schedule import make_schedule

SEED = 20261121


def profile(arrivals: Any = "poisson", surges: tuple[Surge, ...] = (), **rates: float) -> Profile:
    return Profile(name="p", arrivals=arrivals, sessions=5, rate_per_s=rates, surge=surges)


def surge(from_s: float, to_s: float, factor: float) -> Surge:
    return Surge(from_s=from_s, to_s=to_s, factor=factor)


def gaps(times: list[float]) -> list[float]:
    return [after - before for before, after in itertools.pairwise(times)]


def test_the_same_seed_gives_the_same_schedule_and_hash() -> None:
    first = make_schedule(profile(order=15, product=60), SEED, 30)
    assert make_schedule(profile(order=15, product=60), SEED, 30) == first
    assert make_schedule(profile(order=15, product=60), SEED, 30).hash == first.hash


def test_another_seed_gives_another_schedule() -> None:
    one, other = (make_schedule(profile(order=15), seed, 30) for seed in (SEED, SEED + 1))
    assert one.hash != other.hash


def test_an_action_keeps_its_arrivals_when_another_action_is_added() -> None:
    alone = make_schedule(profile(order=15), SEED, 30)
    beside = make_schedule(profile(order=15, product=60), SEED, 30)
    orders = [arrival.at_s for arrival in beside.arrivals if arrival.action == "order"]
    assert orders == [arrival.at_s for arrival in alone.arrivals]


def test_a_choice_does_not_depend_on_the_arrivals_before_it() -> None:
    schedule = make_schedule(profile(order=15), SEED, 30)
    draw = schedule.choices(schedule.arrivals[7]).random()
    schedule.choices(schedule.arrivals[3]).random()
    assert schedule.choices(schedule.arrivals[7]).random() == draw


@pytest.mark.parametrize("seed", range(SEED, SEED + 5))
def test_poisson_rates_and_gaps_are_those_of_a_poisson_process(seed: int) -> None:
    schedule = make_schedule(profile(product=50), seed, 200)
    times = [arrival.at_s for arrival in schedule.arrivals]
    # 10,000 expected, standard deviation 100: five of them is one failure in 1.7 million
    assert abs(len(times) - 10_000) < 500, seed
    assert times == sorted(times)
    assert times[0] >= 0
    assert times[-1] < 200
    between = gaps(times)
    # exponential gaps: the standard deviation equals the mean
    assert statistics.stdev(between) / statistics.mean(between) == pytest.approx(1, abs=0.1), seed


def test_constant_arrivals_come_at_equal_gaps() -> None:
    schedule = make_schedule(profile("constant", order=4), SEED, 10)
    assert len(schedule.arrivals) == 40
    times = [arrival.at_s for arrival in schedule.arrivals]
    assert gaps(times) == pytest.approx([0.25] * 39)


def test_a_surge_multiplies_the_rate_only_while_it_lasts() -> None:
    surged = profile("constant", (surge(10, 20, 4.0),), order=10)
    times = [arrival.at_s for arrival in make_schedule(surged, SEED, 30).arrivals]
    counts = [sum(at <= t < at + 10 for t in times) for at in (0, 10, 20)]
    assert counts == pytest.approx([100, 400, 100], abs=1)


def test_a_surge_to_zero_is_a_pause() -> None:
    paused = profile(surges=(surge(2, 4, 0.0),), order=50)
    times = [arrival.at_s for arrival in make_schedule(paused, SEED, 6).arrivals]
    assert not [t for t in times if 2 < t < 4]
    assert [t for t in times if t > 4]


def test_a_surge_that_outlasts_the_load_is_cut_at_its_end() -> None:
    times = [
        arrival.at_s
        for arrival in make_schedule(
            profile(surges=(surge(1, 99, 2.0),), order=50), SEED, 3
        ).arrivals
    ]
    assert times[-1] < 3


def test_due_before_counts_the_planned_arrivals_of_a_load_that_ended_early() -> None:
    schedule = make_schedule(profile("constant", order=4), SEED, 10)
    assert schedule.due_before(5) == 20
    assert schedule.due_before(99) == 40
