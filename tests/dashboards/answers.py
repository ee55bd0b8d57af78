"""Runs every panel's query against a real Prometheus that scraped a run with many faults.

`make test-dashboards` runs it, `make test` does not: it starts a lab and runs an experiment, which takes minutes.
"""

import json
import os
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from lab.topology import DEFAULT_PATH, PROJECT
from tests.dashboards.reading import Query, annotations, queries
from tests.fixtures.labs import free_port_base

SEED = 3
STEP_S = 2
TROUBLE = Path(__file__).with_name("trouble.yaml")

# (board, title, query) that may stay empty -> reason. All other queries must return data.
MAY_BE_EMPTY = {
    ("breakers", "Shed requests", "A"): (
        "the burst must coincide with the slow orders, and their timing depends on the load of the machine"
    )
}


class ScrapedRun(NamedTuple):
    """A Prometheus and the time range of the run that it scraped."""

    url: str
    start_s: float
    end_s: float

    def query(self, promql: str) -> list[list[float]]:
        """The values of each series over the run, without NaN."""
        parameters = {"query": promql, "start": self.start_s, "end": self.end_s, "step": STEP_S}
        body = urllib.parse.urlencode(parameters).encode()
        with urllib.request.urlopen(f"{self.url}/api/v1/query_range", body, timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
        assert found["data"]["resultType"] == "matrix"
        numbers = [
            [float(value) for _, value in series["values"] if value != "NaN"]
            for series in found["data"]["result"]
        ]
        return [values for values in numbers if values]


def lab(*argv: str, env: dict[str, str], good: tuple[int, ...] = (0,)) -> dict[str, Any]:
    """Run a command of the lab; returns its --json output."""
    done = subprocess.run(
        [sys.executable, "-m", "lab.cli", *argv, "--json"],
        cwd=PROJECT,
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=420,
    )
    assert done.returncode in good, f"lab {argv[0]}: {done.returncode} {done.stdout} {done.stderr}"
    output: dict[str, Any] = json.loads(done.stdout)
    return output


@pytest.fixture(scope="module")
def scraped_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScrapedRun]:
    """The run has ended. The lab still runs, so that its Prometheus answers."""
    port_base = str(free_port_base(DEFAULT_PATH))
    env = {"LAB_DIR": str(tmp_path_factory.mktemp("labs")), "LAB_PORT_BASE": port_base}
    try:
        up = lab("up", "--port-base", port_base, "--with", "prometheus", env=env)
        url = up["urls"]["metrics"].rstrip("/")
        # with so many faults the verdict does not matter: exit statuses 1 and 3 are fine
        run = lab("run", str(TROUBLE), "--seed", str(SEED), env=env, good=(0, 1, 3))
        played = json.loads((Path(run["run"]) / "run.json").read_text())
        phases = played["phases"]
        names = [phase["name"] for phase in phases]
        assert "method" in names, f"the method did not run (seed {SEED}): {played.get('problems')}"
        yield ScrapedRun(url, phases[0]["start_s"], phases[-1]["end_s"] + STEP_S)
    finally:
        lab("down", "--port-base", port_base, env=env)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("query", [*queries(), *annotations()], ids=str)
def test_a_panel_has_data(query: Query, scraped_run: ScrapedRun) -> None:
    found = scraped_run.query(query.promql)
    if not found and (why := MAY_BE_EMPTY.get(query[:3])):
        pytest.skip(f"empty in this run: {why}")
    assert found, f"no data for: {query.promql} (seed {SEED})"


def test_queries_that_may_be_empty_exist() -> None:
    assert set(MAY_BE_EMPTY) <= {query[:3] for query in [*queries(), *annotations()]}
