"""Properties of the toxics on a fake clock: order, bytes, times, removal."""

import heapq
import itertools
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.proxy.data_path.timers import Timer
from lab.proxy.deviations import OURS
from lab.proxy.toxic_record import Record
from lab.proxy.toxics import REGISTRY
from lab.proxy.toxics.latency import LatencyAttributes, delay_s
from lab.proxy.toxics.slicer import SlicerAttributes, slice_sizes
from lab.proxy.toxics.stage import End, Stage, StageContext

LOSSLESS = ("noop", "latency", "bandwidth", "slow_close", "slicer")


class HandClock:
    """A clock that the test advances."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()

    def now_s(self) -> float:
        return self._now_s

    def at(self, when_s: float, run: Callable[[], None]) -> Timer:
        timer = Timer(when_s, run)
        heapq.heappush(self._heap, (when_s, next(self._order), timer))
        return timer

    def wind_to(self, when_s: float) -> None:
        while self._heap and self._heap[0][0] <= when_s:
            at_s, _, timer = heapq.heappop(self._heap)
            self._now_s = max(self._now_s, at_s)
            if timer.run is not None:
                timer.run()
        self._now_s = max(self._now_s, when_s)


class Collector:
    """A sink that stores chunks with their times."""

    def __init__(self, clock: HandClock) -> None:
        self._clock = clock
        self.chunks: list[tuple[float, bytes]] = []
        self.ends: list[End] = []

    def feed(self, data: bytes, arrived_s: float) -> None:
        assert not self.ends, "data after the end"
        self.chunks.append((self._clock.now_s(), data))

    def end(self, how: End) -> None:
        self.ends.append(how)

    @property
    def data(self) -> bytes:
        return b"".join(data for _, data in self.chunks)


def stage_of(
    type_name: str, clock: HandClock, seed: int, **attributes: Any
) -> tuple[Stage[Any], Collector]:
    stage_type = REGISTRY[type_name]
    context = StageContext(clock, Random(seed), Record(commanded_s=0.0), OURS, True)
    stage = stage_type(stage_type.attributes_type(**attributes), context)
    collector = Collector(clock)
    stage.next = collector
    stage.start()
    return stage, collector


ATTRIBUTES: dict[str, st.SearchStrategy[dict[str, int]]] = {
    "noop": st.just({}),
    "latency": st.fixed_dictionaries(
        {"latency": st.integers(0, 500), "jitter": st.integers(0, 800)}
    ),
    "bandwidth": st.fixed_dictionaries({"rate": st.integers(1, 1000)}),
    "slow_close": st.fixed_dictionaries({"delay": st.integers(0, 500)}),
    "slicer": st.fixed_dictionaries(
        {
            "average_size": st.integers(0, 300),
            "size_variation": st.integers(0, 600),
            "delay": st.integers(0, 5000),
        }
    ),
}
CHUNKS = st.lists(st.tuples(st.floats(0, 0.2), st.binary(min_size=1, max_size=500)), max_size=8)


@pytest.mark.parametrize("type_name", LOSSLESS)
@given(data=st.data(), seed=st.integers(0, 2**32), chunks=CHUNKS)
def test_all_bytes_leave_in_order_and_then_the_end(
    type_name: str, data: st.DataObject, seed: int, chunks: list[tuple[float, bytes]]
) -> None:
    clock = HandClock()
    stage, collector = stage_of(type_name, clock, seed, **data.draw(ATTRIBUTES[type_name]))
    for gap_s, chunk in chunks:
        clock.wind_to(clock.now_s() + gap_s)
        stage.feed(chunk, clock.now_s())
    stage.end(End.FIN)
    clock.wind_to(clock.now_s() + 10_000)
    assert collector.data == b"".join(chunk for _, chunk in chunks)
    assert collector.ends == [End.FIN]
    assert stage.held == 0


def test_a_slicer_removed_in_the_middle_of_a_chunk_holds_nothing_afterwards() -> None:
    clock = HandClock()
    stage, collector = stage_of("slicer", clock, 0, average_size=1, size_variation=0, delay=1)
    stage.feed(b"ab", clock.now_s())
    assert (collector.data, stage.held) == (b"a", 1)
    stage.release()
    assert (collector.data, stage.held) == (b"ab", 0)


@pytest.mark.parametrize("type_name", LOSSLESS)
@given(data=st.data(), seed=st.integers(0, 2**32), chunks=CHUNKS, ended=st.booleans())
def test_removal_at_any_instant_loses_nothing_and_does_not_wait(
    type_name: str, data: st.DataObject, seed: int, chunks: list[tuple[float, bytes]], ended: bool
) -> None:
    clock = HandClock()
    stage, collector = stage_of(type_name, clock, seed, **data.draw(ATTRIBUTES[type_name]))
    for gap_s, chunk in chunks:
        clock.wind_to(clock.now_s() + gap_s)
        stage.feed(chunk, clock.now_s())
    if ended:
        stage.end(End.FIN)
    clock.wind_to(clock.now_s() + data.draw(st.floats(0, 0.3)))
    stage.release()
    stage.close()
    assert collector.data == b"".join(chunk for _, chunk in chunks)
    assert collector.ends == ([End.FIN] if ended else [])
    assert stage.held == 0


@given(
    latency=st.integers(0, 500),
    changed=st.integers(0, 500),
    chunks=CHUNKS,
    seed=st.integers(0, 2**32),
)
def test_latency_is_never_early_even_when_changed(
    latency: int, changed: int, chunks: list[tuple[float, bytes]], seed: int
) -> None:
    clock = HandClock()
    stage, collector = stage_of("latency", clock, seed, latency=latency)
    arrivals = []
    for gap_s, chunk in chunks:
        clock.wind_to(clock.now_s() + gap_s)
        arrivals.append(clock.now_s())
        stage.feed(chunk, clock.now_s())
    stage.attributes = LatencyAttributes(changed)
    stage.updated()
    clock.wind_to(10_000)
    for arrived_s, (left_s, _) in zip(arrivals, collector.chunks, strict=True):
        assert left_s - arrived_s >= min(latency, changed) / 1e3 - 1e-9


@given(rate=st.integers(1, 500), chunks=CHUNKS)
def test_bandwidth_never_exceeds_its_rate(rate: int, chunks: list[tuple[float, bytes]]) -> None:
    clock = HandClock()
    stage, collector = stage_of("bandwidth", clock, 0, rate=rate)
    for gap_s, chunk in chunks:
        clock.wind_to(clock.now_s() + gap_s)
        stage.feed(chunk, clock.now_s())
    clock.wind_to(10_000)
    passed = 0
    for left_s, chunk in collector.chunks:
        passed += len(chunk)
        assert passed <= rate * 1000 * left_s + 1e-6


@given(
    total=st.integers(1, 100_000),
    average=st.integers(0, 2000),
    variation=st.integers(0, 4000),
    seed=st.integers(0, 2**32),
)
def test_slices_sum_up_and_none_is_empty(
    total: int, average: int, variation: int, seed: int
) -> None:
    sizes = list(slice_sizes(total, SlicerAttributes(average, variation), Random(seed)))
    assert sum(sizes) == total
    assert min(sizes) >= 1
    if average > 0:
        assert max(sizes) <= max(average + variation, 1)


@pytest.mark.parametrize(
    ("distribution", "mean_ms", "least_ms"),
    [("uniform", 100, 80), ("normal", 100, 0), ("pareto", 120, 100)],
)
def test_a_distribution_has_its_mean(distribution: str, mean_ms: float, least_ms: float) -> None:
    attributes = LatencyAttributes(100, 20, distribution)
    rng = Random(7)
    draws = [delay_s(attributes, rng) * 1e3 for _ in range(20_000)]
    assert abs(sum(draws) / len(draws) - mean_ms) < 1
    assert min(draws) >= least_ms
    if distribution == "uniform":
        assert max(draws) < 120


@given(loss=st.floats(0.05, 0.9), seed=st.integers(0, 2**32))
def test_loss_stays_in_its_binomial_interval(loss: float, seed: int) -> None:
    stage, collector = stage_of("packet_loss", HandClock(), seed, loss_rate=loss)
    count = 2000
    for _ in range(count):
        stage.feed(b"x", 0.0)
    sigma = (count * loss * (1 - loss)) ** 0.5
    # 5 sigma, because hypothesis searches for a seed outside 99%
    assert abs(count - len(collector.data) - count * loss) < 5 * sigma


def test_correlated_loss_comes_in_bursts() -> None:
    def bursts(correlation: float) -> float:
        stage, collector = stage_of(
            "packet_loss", HandClock(), 3, loss_rate=0.1, correlation=correlation
        )
        for number in range(5000):
            stage.feed(number.to_bytes(2, "big"), 0.0)
        kept = {int.from_bytes(data, "big") for _, data in collector.chunks}
        lost = [number for number in range(5000) if number not in kept]
        return sum(number + 1 not in kept for number in lost) / len(lost)

    assert bursts(0.0) < 0.15
    assert bursts(0.8) > 0.8


def test_bandwidth_catches_up_on_a_late_timer_but_not_on_a_long_stall() -> None:
    clock = HandClock()
    stage, collector = stage_of("bandwidth", clock, 0, rate=10)
    stage.feed(bytes(10_000), 0.0)
    clock._now_s = 5.0  # the process was stopped for 5 s
    clock.wind_to(5.0)
    assert len(collector.data) <= 3_000
