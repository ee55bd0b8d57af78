"""`python -m tests.fuzz.run --cases 5000`: starts a lab, sends at least that many requests, stops the lab.

The exit code is 1 if a check failed, if an answer was a 5xx, or if fewer requests were answered.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.runtimes.base import UpOptions
from lab.runtimes.processes.runtime import ProcessesRuntime
from lab.topology import DEFAULT_PATH, PROJECT
from tests.fixtures.labs import free_port_base

HERE = Path(__file__).parent
# It sends what an attacker sends: the limits for attackers would hide the other answers.
SETTINGS = {
    "gateway.REFUSED_PER_S": "1000000",
    "gateway.REFUSED_BURST": "1000000",
    "users.ACCESS_TOKEN_S": "86400",
}


@contextmanager
def shop(folder: Path) -> Iterator[str]:
    """The base URL of the public API of a new lab in `folder`, with SETTINGS."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAB_DIR", str(folder))
        lab = ProcessesRuntime(free_port_base(DEFAULT_PATH))
        lab.up(UpOptions(SETTINGS))
        try:
            yield lab.address("ingress") + "/api"
        finally:
            lab.down()


def fuzz(api: str, folder: Path, *, seed: int, examples: int) -> tuple[int, Counter[int]]:
    """Send `examples` generated requests to each operation, and others: (exit code, answers by status).

    The exit code is that of Schemathesis, whose report is written to `folder`.
    """
    report = folder / "events.ndjson"
    command: list[str | Path] = [
        *(Path(sys.executable).with_name("schemathesis"), "--no-color"),
        *("--config-file", HERE / "schemathesis.toml", "run", f"{api}/openapi.json"),
        *("--checks", "all", "--seed", str(seed), "--max-examples", str(examples)),
        *("--continue-on-failure", "--report-ndjson-path", report),
    ]
    paths = os.pathsep.join([str(PROJECT / "system"), str(PROJECT)])
    env = {**os.environ, "PYTHONPATH": paths, "SCHEMATHESIS_HOOKS": "tests.fuzz.hooks"}
    env["FUZZ_API"] = api
    done = subprocess.run(command, cwd=folder, env=env)
    return done.returncode, _answers(report)


def _answers(report: Path) -> Counter[int]:
    """The number of answers by status."""
    found: Counter[int] = Counter()
    with report.open() as lines:
        for line in lines:
            recorder = json.loads(line).get("ScenarioFinished", {}).get("recorder", {})
            for interaction in recorder.get("interactions", {}).values():
                if answer := interaction.get("response"):
                    found[answer["status_code"]] += 1
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, shop(Path(folder)) as api:
        # operations with little input get fewer requests than others
        code, answers = fuzz(api, Path(folder), seed=wanted.seed, examples=wanted.cases // 10)
    print(f"{answers.total()} answers, by status: {dict(sorted(answers.items()))}")
    failed = code != 0 or max(answers, default=500) >= 500 or answers.total() < wanted.cases
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
