"""Runs experiments in sequence on a new lab and prints a table: name, verdict, seconds, reasons.

    python bench/experiments.py [NAME ...] [--port-base 8080] [--seed 1] [--profile NAME] [--plain] [--json]

Without a NAME it runs all of experiments/. `--plain` runs unmodified Chaos Toolkit (`chaos run`) without load,
recording and verdict; the result is then the toolkit's exit code. It uses a running lab at the port base, which
stays up. Exit 0 if every verdict is `held`, 4 if all others are `undecided`, else 1: an invalid run is no pass.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "system")]

from lab.chaos.experiment.loader import experiment_files, load_experiment  # noqa: E402
from lab.runtimes.base import UpOptions  # noqa: E402
from lab.runtimes.processes.runtime import ProcessesRuntime  # noqa: E402
from lab.state import Lab, NoLabError, home_of  # noqa: E402

TIMEOUT_S = 600.0


@contextmanager
def a_lab(port_base: int, *, proxied: bool) -> Iterator[None]:
    """The running lab at the port base, else a new one that is stopped at the end."""
    try:
        Lab.load(home_of(port_base))
        yield
    except NoLabError:
        runtime = ProcessesRuntime(port_base)
        runtime.up(UpOptions(proxied=proxied))
        try:
            yield
        finally:
            runtime.down()


def run(name: str, port_base: int, seed: int, profile: str) -> dict[str, Any]:
    """`lab run NAME`: its verdict and the reasons."""
    command = [sys.executable, "-m", "lab.cli", "run", name, "--json"]
    command += ["--seed", str(seed), "--port-base", str(port_base), "--profile", profile]
    code, out, seconds = _timed(command, ROOT, {})
    try:
        summary = json.loads(out.splitlines()[-1])
    except (ValueError, IndexError):
        summary = {"verdict": None, "reasons": [out[-500:]]}
    verdict = summary["verdict"] or f"no verdict (exit {code})"
    return {"name": name, "verdict": verdict, "seconds": seconds, "why": summary["reasons"]}


def run_plain(name: str, port_base: int) -> dict[str, Any]:
    """`chaos run experiments/NAME.yaml`: held if the toolkit exits with 0."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "chaostoolkit", "--no-version-check", "run"]
        command += [str(ROOT / "experiments" / f"{name}.yaml")]
        code, out, seconds = _timed(command, Path(folder), {"LAB_PORT_BASE": str(port_base)})
    failed = [line for line in out.splitlines() if "ERROR" in line or "failed" in line.lower()]
    verdict = "held" if code == 0 else "deviated"
    return {"name": name, "verdict": verdict, "seconds": seconds, "why": failed[-3:] * bool(code)}


def _timed(command: list[str], cwd: Path, env: dict[str, str]) -> tuple[int, str, float]:
    began = time.monotonic()
    paths = os.pathsep.join([str(ROOT), str(ROOT / "system")])
    with subprocess.Popen(
        command, cwd=cwd, env={**os.environ, "PYTHONPATH": paths, **env},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as running:  # fmt: skip
        try:
            out, _ = running.communicate(timeout=TIMEOUT_S)
        except (
            subprocess.TimeoutExpired,
            SystemExit,
        ):  # after SIGTERM it removes its faults before it ends
            running.terminate()
            raise
    return running.returncode, out, round(time.monotonic() - began, 1)


def _show(result: dict[str, Any], out: TextIO) -> None:
    why = "".join(f"\n    {reason}" for reason in result["why"])
    line = f"{result['name']:<28} {result['verdict']:<10} {result['seconds']:>6.1f} s{why}"
    print(line, file=out, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--port-base", type=int, default=8080)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--profile", default="", help="a load profile (default: the experiment's own)"
    )
    parser.add_argument("--plain", action="store_true", help="run unmodified Chaos Toolkit alone")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # runs every `finally`
    names = given.names or [file.stem for file in experiment_files()]
    results: list[dict[str, Any]] = []
    for proxied in (False, True):  # the proxy costs time: only experiments on edges have it
        chosen = [name for name in names if load_experiment(name).plan.proxied is proxied]
        if not chosen:
            continue
        with a_lab(given.port_base, proxied=proxied):
            for name in chosen:
                if given.plain:
                    result = run_plain(name, given.port_base)
                else:
                    result = run(name, given.port_base, given.seed, given.profile)
                results.append(result)
                _show(result, sys.stderr if given.json else sys.stdout)
    if given.json:
        print(json.dumps({"experiments": results}))
    verdicts = {each["verdict"] for each in results}
    return 0 if verdicts <= {"held"} else 4 if verdicts <= {"held", "undecided"} else 1


if __name__ == "__main__":
    sys.exit(main())
