"""Prometheus' configuration from the topology: every instance once, and rules on series that exist."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from prometheus_client.utils import floatToGoString

from chassis.telemetry.histogram import BUCKETS_S
from lab.render import prometheus
from lab.topology import load
from tests.docs.metrics_page import documented

RULES = Path(prometheus.__file__).parents[2] / prometheus.RULES


def test_every_instance_of_the_topology_is_scraped_once_under_its_name() -> None:
    text = prometheus.files(load())["system/deploy/prometheus.yml"]
    jobs = {each["job_name"]: each for each in yaml.safe_load(text)["scrape_configs"]}
    targets = {
        group["labels"]["instance"]: group["targets"][0] for group in jobs["shop"]["static_configs"]
    }
    services = load().services.values()
    expected = {f"{each.name}-{n + 1}": each for each in services for n in range(each.replicas)}
    assert targets == {name: f"{name}:{8080 + each.offset}" for name, each in expected.items()}
    assert len(jobs["shop"]["static_configs"]) == len(expected)


def test_each_latency_objective_is_a_bucket_bound_of_the_services() -> None:
    """`le` is text: "0.1" finds the bucket, "0.10000000000000001" silently finds nothing."""
    asked = set(re.findall(r'le="([^"]+)"', prometheus.slo_rules(load())))
    assert asked
    assert asked <= {floatToGoString(bound) for bound in BUCKETS_S}


def test_rules_use_only_documented_series() -> None:
    known = {each.name for each in documented()}
    known |= {name + end for name in known for end in ("_bucket", "_sum", "_count")}
    groups = [yaml.safe_load(path.read_text())["groups"] for path in sorted(RULES.glob("*.yml"))]
    rules = [rule for each in groups for group in each for rule in group["rules"]]
    known |= {rule["record"] for rule in rules if "record" in rule} | {"up"}
    asked = {
        name
        for rule in rules
        for name in re.findall(
            r"\b([a-z][a-z0-9_:]*_[a-z0-9_:]+)\b(?=[\[{ )]|$)", bare(rule["expr"])
        )
    }
    assert asked - known - WORDS == set()


def bare(expression: str) -> str:
    """The expression without quoted text and `by (...)`."""
    expression = re.sub(r'"[^"]*"', '""', expression)
    expression = re.sub(r"\{([^}]*)\}", "{}", expression)
    return re.sub(r"\b(by|on|group_left|without)\s*\([^)]*\)", "", expression)


WORDS = {"histogram_quantile", "min_over_time", "label_replace"}
