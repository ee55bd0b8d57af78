"""Windows count the same as a plain list would."""

from hypothesis import given
from hypothesis import strategies as st

from chassis.resilience.window import FAILED, SLOW, CountWindow, RunWindow, TimeWindow

OUTCOMES = st.lists(st.sampled_from([0, FAILED, SLOW, FAILED + SLOW]), max_size=80)


def counts(outcomes: list[int]) -> tuple[int, int, int]:
    return len(outcomes), sum(o & 1 for o in outcomes), sum(o >> 1 for o in outcomes)


@given(outcomes=OUTCOMES, size=st.integers(1, 20))
def test_count_window_equals_the_last_of_a_list(outcomes: list[int], size: int) -> None:
    window = CountWindow(size)
    for number, outcome in enumerate(outcomes, start=1):
        window.record(outcome, 0.0)
        assert (window.n, window.failures, window.slow) == counts(outcomes[:number][-size:])


@given(
    outcomes=OUTCOMES, gaps=st.lists(st.sampled_from([0.0, 0.4, 1.0, 7.3])), size=st.integers(1, 9)
)
def test_time_window_equals_the_recent_of_a_list(
    outcomes: list[int], gaps: list[float], size: int
) -> None:
    window, now, seen = TimeWindow(size), 3.0, []
    for outcome, gap in zip(outcomes, gaps, strict=False):
        now += gap
        window.record(outcome, now)
        seen.append((int(now), outcome))
        recent = [o for second, o in seen if second > int(now) - size]
        assert (window.n, window.failures, window.slow) == counts(recent)
        assert len(window._buckets) <= size


@given(outcomes=OUTCOMES)
def test_run_window_equals_the_failures_since_the_last_good_call(outcomes: list[int]) -> None:
    window = RunWindow()
    run: list[int] = []
    for outcome in outcomes:
        window.record(outcome, 0.0)
        run = [*run, outcome] if outcome & FAILED else []
        assert (window.n, window.failures, window.slow) == counts(run)
