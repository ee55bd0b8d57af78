"""A lab with a real Prometheus: its targets, series, rules, exemplars and alerts, and its end."""

from __future__ import annotations

import json
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from lab import __version__
from lab.chaos.probe_customer import Customer, UnservedError
from lab.http_client import NoReplyError
from lab.runtimes.base import UpOptions
from lab.runtimes.processes.runtime import ProcessesRuntime
from lab.runtimes.servers import apt_packages, observers
from lab.runtimes.servers.binaries import ServerMissingError
from lab.topology import DEFAULT_PATH, load
from tests.docs.metrics_page import documented
from tests.fixtures.labs import free_port_base, process
from tests.fixtures.waiting import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def scraped_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessesRuntime]:
    """A separate lab with Prometheus, after at least one successful order."""
    try:
        if observers.find("prometheus") is None:
            apt_packages.unpack("prometheus")
    except ServerMissingError as missing:
        pytest.skip(f"PROMETHEUS IS NOT TESTED, it is not available: {missing}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAB_DIR", str(tmp_path_factory.mktemp("labs")))
        runtime = ProcessesRuntime(free_port_base(DEFAULT_PATH))
        runtime.up(UpOptions(observers=["prometheus"]))
        try:
            wait_until(lambda: is_served(runtime), "an order that is served", 60.0)
            yield runtime
        finally:
            runtime.down()


def is_served(runtime: ProcessesRuntime) -> bool:
    """Whether one order succeeds. On a busy machine it may time out."""
    with suppress(UnservedError, NoReplyError):
        return Customer(runtime.address("ingress")).order().status in (201, 202)
    return False


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return json.load(answer)


def query(runtime: ProcessesRuntime, promql: str) -> list[dict[str, Any]]:
    """The instant vector of an expression; [] while Prometheus is not up."""
    parameters = urllib.parse.urlencode({"query": promql})
    try:
        answer = get(f"{runtime.address('prometheus')}/api/v1/query?{parameters}")
    except OSError:
        return []
    found: list[dict[str, Any]] = answer["data"]["result"]
    return found


def soon(runtime: ProcessesRuntime, promql: str, fits: Callable[[Any], bool] = bool) -> Any:
    def look() -> Any:
        found = query(runtime, promql)
        return [found] if fits(found) else None  # an empty vector can be the expected one

    return wait_until(look, promql, 30.0, poll_s=0.1)[0]


def test_every_instance_and_job_is_scraped_under_its_topology_name(
    scraped_lab: ProcessesRuntime,
) -> None:
    services = load().services.values()
    expected = {f"{each.name}-{n + 1}" for each in services for n in range(each.replicas)}
    expected |= {"watch", "recorder", "prometheus"}
    up = soon(scraped_lab, "up == 1", lambda found: len(found) >= len(expected))
    assert {each["metric"]["instance"] for each in up} == expected
    shop = [each["metric"] for each in up if each["metric"]["job"] == "shop"]
    assert all(f"{each['service']}-" in each["instance"] for each in shop)
    assert {(each["arm"], each["version"]) for each in shop} == {("control", __version__)}


def test_every_series_is_documented(scraped_lab: ProcessesRuntime) -> None:
    for name in ("postgres_up", "saga_outcomes_total > 0", "bank_requests_total > 0"):
        soon(scraped_lab, name)
    named = {each.name for each in documented()}
    series = {name + end for name in named for end in ("", "_bucket", "_sum", "_count")}
    own = query(scraped_lab, 'count by (__name__) ({job=~"shop|stores",__name__!~"up|scrape_.*"})')
    found = {each["metric"]["__name__"] for each in own}
    assert found - series == set()


def test_requests_become_rates_objectives_and_burn_rates(scraped_lab: ProcessesRuntime) -> None:
    customer = Customer(scraped_lab.address("ingress"))

    def rates() -> Any:
        with suppress(UnservedError, NoReplyError):
            customer.browse()
        return query(scraped_lab, 'service:http_requests:rate10s{service="products"} > 0')

    wait_until(rates, "a rate of requests", 30.0, poll_s=0.1)
    for name in ("availability", "latency"):
        # Each group of rules has its own moment: the burn rate is NaN until its rates have seen requests.
        burn = soon(scraped_lab, f'slo:{name}:burn60s{{service="products"}} >= 0')
        assert [each["metric"]["service"] for each in burn] == ["products"]
    promised = {name: each.slo.availability for name, each in load().services.items()}
    objectives = soon(
        scraped_lab, "slo:availability:objective", lambda found: len(found) == len(promised)
    )
    assert {each["metric"]["service"]: float(each["value"][1]) for each in objectives} == promised


def test_an_exemplar_names_its_request(scraped_lab: ProcessesRuntime) -> None:
    url = f"{scraped_lab.address('ingress')}/api/products/SKU-0001"
    with urllib.request.urlopen(url, timeout=5) as answer:
        trace_id = answer.headers["X-Request-Id"]
    name = "http_server_request_duration_seconds_bucket"
    parameters = urllib.parse.urlencode(
        {
            "query": f'{name}{{service="products"}}',
            "start": time.time() - 60,
            "end": time.time() + 60,
        }
    )

    def look() -> bool:
        data = get(f"{scraped_lab.address('prometheus')}/api/v1/query_exemplars?{parameters}")[
            "data"
        ]
        found = {each["labels"]["trace_id"] for series in data for each in series["exemplars"]}
        return trace_id in found

    wait_until(look, f"an exemplar with {trace_id}", 20.0)


def test_a_new_instance_is_scraped_and_a_removed_one_is_not(scraped_lab: ProcessesRuntime) -> None:
    scraped_lab.scale("users", 2)
    soon(scraped_lab, 'up{instance="users-2"} == 1')
    scraped_lab.scale("users", 1)
    soon(scraped_lab, 'up{instance="users-2"}', lambda found: not found)


def test_an_alert_is_logged_when_it_fires_and_when_it_ends(scraped_lab: ProcessesRuntime) -> None:
    scraped_lab.kill("payments-1", "STOP")
    try:
        soon(
            scraped_lab,
            'ALERTS{alertname="InstanceDown",alertstate="firing",instance="payments-1"}',
        )

        def logged(state: str) -> bool:
            lines = scraped_lab.logs("watch", last=200)
            wanted = ("InstanceDown", state, "payments-1")
            return any(
                (each.get("alert"), each.get("state"), each["labels"].get("instance")) == wanted
                for each in (line.fields for line in lines)
                if each and "labels" in each
            )

        wait_until(lambda: logged("firing"), "the alert in the logs", 20.0)
        firing = get(scraped_lab.address("watch") + "/alerts")["firing"]
        assert "InstanceDown" in {each["labels"]["alertname"] for each in firing}
    finally:
        scraped_lab.kill("payments-1", "CONT")
    wait_until(lambda: logged("resolved"), "its end in the logs", 30.0)


def test_it_fits_in_memory_and_the_lab_works_without_it(scraped_lab: ProcessesRuntime) -> None:
    memory = psutil.Process(process(scraped_lab, "prometheus")["pid"]).memory_info().rss
    assert memory < 200e6
    scraped_lab.kill("prometheus", "KILL", restart=False)
    scraped_lab.kill("watch", "STOP")
    try:
        wait_until(lambda: scraped_lab.status()["ready"], "all but the observers ready")
        wait_until(lambda: is_served(scraped_lab), "an order that is served", 30.0)
    finally:
        scraped_lab.kill("watch", "CONT")


def test_only_the_owner_can_read_its_token(scraped_lab: ProcessesRuntime) -> None:
    for path in (Path(scraped_lab.home) / "run" / "monitoring").iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
