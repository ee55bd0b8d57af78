"""The archive's figures agree with those of a real Prometheus for the same load."""

import json
import math
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from lab.analysis import red
from lab.archive import Run, seal
from lab.chaos.running_lab import find_lab
from lab.http_client import NoReplyError
from lab.run.evidence.recorder_client import RecorderClient
from lab.runtimes.processes.runtime import ProcessesRuntime
from lab.runtimes.servers import apt_packages
from lab.runtimes.servers.binaries import ServerMissingError
from tests.fixtures.waiting import wait_until
from tests.system.test_orders import Shopper

# A span and the histogram of its request end at slightly different times, by two clocks.
TOLERANCE_S, TOLERANCE_SHARE = 0.002, 0.02
REQUESTS_MIN = 20  # fewer are too few to compare a p95

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def prometheus(
    session_lab: ProcessesRuntime, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A Prometheus that scrapes every instance of the lab each second; its address."""
    try:
        program = shutil.which("prometheus") or str(apt_packages.unpack("prometheus"))
    except ServerMissingError as missing:
        pytest.skip(
            f"THE ARCHIVE IS NOT COMPARED WITH PROMETHEUS, which is not available: {missing}"
        )
    folder = tmp_path_factory.mktemp("prometheus")
    instances = [each for each in session_lab.status()["processes"] if each["service"]]
    targets = [
        {
            "targets": [f"127.0.0.1:{each['port']}"],
            "labels": {"service": each["service"], "instance": each["name"]},
        }
        for each in instances
    ]
    jobs = [{"job_name": "shop", "static_configs": targets}]
    config = {"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}
    (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    argv = [program, f"--config.file={folder / 'prometheus.yml'}"]
    argv += [f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={address}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log)
    try:
        up = f"http://{address}/api/v1/query?query=sum(up)"

        def all_scraped() -> bool:
            try:
                with urllib.request.urlopen(up, timeout=2) as answer:
                    found = json.load(answer)["data"]["result"]
            except OSError:
                return False
            return bool(found) and int(found[0]["value"][1]) == len(instances)

        wait_until(all_scraped, "Prometheus has scraped every instance", 30)
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait()


def test_requests_and_p95_by_route_agree_with_prometheus(
    lab: ProcessesRuntime, shop: str, prometheus: str, tmp_path: Path
) -> None:
    """The numbers of requests are equal, and the p95 of the spans is in Prometheus' bucket of the p95."""
    recording = RecorderClient(find_lab(lab.port_base))
    shopper = Shopper(shop)
    start_s = time.time()
    recording.start(tmp_path)
    try:
        # three closed loops, so that even a slow machine sends all requests
        with ThreadPoolExecutor(3) as shoppers:
            list(shoppers.map(browse, [shopper] * 3))
        answered_s = time.time()
        wait_until(
            lambda: _scraped_since(prometheus, answered_s) and _is_idle(prometheus),
            "no request is in progress and no span waits for export",
            60,
        )
    finally:
        recording.stop()
    end_s = time.time()
    seal(tmp_path)
    spans = (
        Run(tmp_path)
        .sql(
            "SELECT service, http_route AS route, list(end_ns - start_ns ORDER BY end_ns - start_ns)"
            " FROM spans WHERE kind = 'server' AND service != 'nginx' GROUP BY ALL"
        )
        .fetchall()
    )
    seconds = {(service, route): [ns / 1e9 for ns in all_ns] for service, route, all_ns in spans}
    wait_until(lambda: _scraped_since(prometheus, end_s), "the end is scraped", 30)
    live = red.by_route(Run.from_prometheus(prometheus, start_s - 2.5, end_s + 2.5))
    counts = {(row.service, row.route): row.requests for row in live.itertuples()}
    assert counts == {key: len(values) for key, values in seconds.items()}
    compared = [row for row in live[live["requests"] >= REQUESTS_MIN].itertuples()]
    assert len(compared) >= 4, counts
    for row in compared:
        values = seconds[row.service, row.route]
        p95_s = values[math.ceil(0.95 * len(values)) - 1]
        tolerance_s = TOLERANCE_S + TOLERANCE_SHARE * p95_s
        assert row.q_low_s - tolerance_s <= p95_s <= row.q_high_s + tolerance_s, (row, p95_s)


def browse(shopper: Shopper) -> None:
    """Send requests. Any answer counts: both sides must report the same."""
    for number in range(10):
        for path in ("/products", f"/products/SKU-{number + 1:04}", "/me", "/orders"):
            with suppress(NoReplyError):
                shopper.get(path)


def _scraped_since(prometheus: str, time_s: float) -> bool:
    return _query(prometheus, "min(timestamp(up))") > time_s


def _is_idle(prometheus: str) -> bool:
    return _query(prometheus, "sum(http_server_active_requests) + sum(telemetry_spans_queued)") == 0


def _query(prometheus: str, query: str) -> float:
    url = f"{prometheus}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    with urllib.request.urlopen(url, timeout=5) as answer:
        return float(json.load(answer)["data"]["result"][0]["value"][1])
