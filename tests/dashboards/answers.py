"""Every panel's query, asked of a real Prometheus that watched a real run with trouble in it.

`make test-dashboards`. Not collected by `make test`: it starts a lab, loads it and breaks it, which takes minutes.
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
from tests.dashboards.reading import Asked, annotations, queries
from tests.fixtures.labs import free_port_base

SEED = 3
STEP_S = 2
TROUBLE = Path(__file__).with_name("trouble.yaml")

# What the run's trouble does not surely fill: the query, and what it would take. Anything else must have data.
NEEDS_MORE = {
    ("breakers", "How much is shed at the door?", "A"): (
        "the rush must meet the slow orders, and their times differ by the machine's business"
    ),
}


class Watched(NamedTuple):
    """A Prometheus, and the stretch of time in which its run was."""

    url: str
    start_s: float
    end_s: float

    def ask(self, promql: str) -> list[list[float]]:
        """The values of each series over the run; those that are no number are left out."""
        asked = {"query": promql, "start": self.start_s, "end": self.end_s, "step": STEP_S}
        body = urllib.parse.urlencode(asked).encode()
        with urllib.request.urlopen(f"{self.url}/api/v1/query_range", body, timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
        assert found["data"]["resultType"] == "matrix"
        numbers = [
            [float(value) for _, value in series["values"] if value != "NaN"]
            for series in found["data"]["result"]
        ]
        return [values for values in numbers if values]


def lab(*argv: str, env: dict[str, str], good: tuple[int, ...] = (0,)) -> dict[str, Any]:
    """A command of the lab, its --json."""
    done = subprocess.run(
        [sys.executable, "-m", "lab.cli", *argv, "--json"],
        cwd=PROJECT,
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=420,
    )
    assert done.returncode in good, f"lab {argv[0]}: {done.returncode} {done.stdout} {done.stderr}"
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """The run is over; the lab still runs, so that its Prometheus answers."""
    port_base = str(free_port_base(DEFAULT_PATH))
    env = {"LAB_DIR": str(tmp_path_factory.mktemp("labs")), "LAB_PORT_BASE": port_base}
    try:
        up = lab("up", "--port-base", port_base, "--with", "prometheus", env=env)
        url = up["urls"]["metrics"].rstrip("/")
        # trouble enough that its verdict says nothing: 1 and 3 are as good as 0
        run = lab("run", str(TROUBLE), "--seed", str(SEED), env=env, good=(0, 1, 3))
        played = json.loads((Path(run["run"]) / "run.json").read_text())
        phases = played["phases"]
        names = [phase["name"] for phase in phases]
        assert "method" in names, f"no trouble was made (seed {SEED}): {played.get('problems')}"
        yield Watched(url, phases[0]["start_s"], phases[-1]["end_s"] + STEP_S)
    finally:
        lab("down", "--port-base", port_base, env=env)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("asked", [*queries(), *annotations()], ids=str)
def test_a_panel_has_data(asked: Asked, watched: Watched) -> None:
    found = watched.ask(asked.promql)
    if not found and (why := NEEDS_MORE.get(asked[:3])):
        pytest.skip(f"empty in this run: {why}")
    assert found, f"no data for: {asked.promql} (seed {SEED})"


def test_what_may_be_empty_is_still_asked() -> None:
    assert set(NEEDS_MORE) <= {asked[:3] for asked in [*queries(), *annotations()]}
