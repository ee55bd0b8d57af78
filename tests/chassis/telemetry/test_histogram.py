"""The histogram gives the same samples and text as the client library, and valid exemplars."""

from random import Random
from typing import Any

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parsed

from chassis.telemetry.histogram import BUCKETS_S, Histogram
from chassis.telemetry.metrics import counter, expose, exposition, withdraw
from lab.topology import load


@pytest.mark.parametrize("seed", range(5))
def test_it_has_the_same_samples_as_the_client_library(seed: int) -> None:
    rng = Random(seed)
    ours = Histogram("h_seconds", "h", ("who",))
    theirs = prometheus_client.Histogram(
        "h_seconds", "h", ("who",), buckets=BUCKETS_S, registry=None
    )
    edges = [*BUCKETS_S, 0.0, 99.0]  # a value equal to a bound is in that bucket
    for _ in range(500):
        value = rng.choice([rng.expovariate(5), rng.choice(edges)])
        who = rng.choice("ab")
        ours.labels(who).observe(value)
        theirs.labels(who).observe(value)

    def samples(histogram: prometheus_client.registry.Collector) -> dict[str, Any]:
        (metric,) = histogram.collect()
        assert metric.type == "histogram"
        return {
            f"{each.name}{sorted(each.labels.items())}": pytest.approx(each.value)
            for each in metric.samples
            if not each.name.endswith("_created")
        }

    assert samples(ours) == samples(theirs), f"seed {seed}"


def test_an_exemplar_is_the_last_of_its_bucket_and_can_be_parsed() -> None:
    histogram = Histogram("h_seconds", "h", buckets=(0.1, 1.0))
    series = histogram.labels()
    series.observe(0.5, 7)
    series.observe(0.6, 8)
    series.observe(0.7)  # of a trace that is not sampled
    registry = prometheus_client.CollectorRegistry()
    registry.register(histogram)
    (family,) = parsed(openmetrics(registry).decode())
    exemplars = {each.labels["le"]: each.exemplar for each in family.samples if each.exemplar}
    assert exemplars.keys() == {"1.0"}
    assert exemplars["1.0"].labels == {"trace_id": f"{8:032x}"}
    assert exemplars["1.0"].value == 0.6


def test_wrong_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="h_seconds has the labels"):
        Histogram("h_seconds", "h", ("a", "b")).labels("only one")


def test_each_latency_objective_is_a_bucket_bound() -> None:
    """Otherwise the share of slower answers could not be computed."""
    objectives = {service.slo.latency_ms_p99 / 1000 for service in load().services.values()}
    assert objectives <= set(BUCKETS_S)


@pytest.mark.parametrize("labels", [(), ("method", "edge")])
def test_its_text_equals_that_of_the_client_library(labels: tuple[str, ...]) -> None:
    histogram = Histogram("wait_seconds", "How long", labels, (0.1, 1.0))
    values = [("GET", "a->b"), ('quo"te', "back\\slash\nline")] if labels else [()]
    for number, each in enumerate(values):
        for value in (0.05, 0.1, 0.7, 30.0 + number):
            histogram.labels(*each).observe(value)
    registry = CollectorRegistry()
    registry.register(histogram)
    theirs = generate_latest(registry).decode()
    assert histogram.text().splitlines() == theirs.splitlines()
    histogram.labels(*values[0]).observe(0.2, trace_id=0xABC)
    assert histogram.text().splitlines() == generate_latest(registry).decode().splitlines()
    with_exemplars = openmetrics(registry).decode().splitlines()
    assert [*histogram.text(exemplars=True).splitlines(), "# EOF"] == with_exemplars


def test_the_page_has_every_metric_once_in_either_format() -> None:
    wait, sold = Histogram("page_wait_seconds", "How long"), counter("page_sold", "How many")
    expose(wait, sold)
    try:
        for accept in ("text/plain", "application/openmetrics-text"):
            page = exposition(accept)[0].decode()
            for line in ("page_wait_seconds_count ", "page_sold_total ", "process_open_fds "):
                assert page.count(f"\n{line}") == 1, (accept, line)
            assert page.endswith("# EOF\n") == ("openmetrics" in accept)
            assert page.count("# EOF") <= 1
    finally:
        withdraw(wait)
        withdraw(sold)
    assert "page_" not in exposition("text/plain")[0].decode()
