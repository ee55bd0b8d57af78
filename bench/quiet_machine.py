"""How much CPU may others take before a run measures them and not the shop? Derives TAKEN_SHARE_MAX.

    python bench/quiet_machine.py [--profile checkout] [--seconds 20] [--rounds 3] [--levels PERCENT ...]

On a new lab, windows of the same load follow each other. In each round, one window for each level: programs
outside the lab take 10 to 200% of a core, in bursts of a few milliseconds, at normal priority. Rounds alternate in
direction, so that a drift of the machine does not look like an effect. An undisturbed window comes before each.

share      CPU that the disturbers got, as a share of all CPUs; others: what the sampler saw outside the lab
effect     p95 of orders by the undisturbed windows' median, and the share of windows above the A/A bound
A/A bound  what a single undisturbed window may differ by chance: the 95% prediction interval of log p95
           (Student's t), but at least MARGIN, the margin of `expects: unchanged`
threshold  the share at which the geometric mean of a level's effects exceeds the bound, interpolated between two
           levels; every lower level is within it and fails no more requests than undisturbed windows

Prints the windows on stderr, JSON on stdout. Exit 1 without a threshold: the undisturbed windows were disturbed,
or no level exceeds the bound (then the largest share that was reached is a lower bound of it).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "system")]

from lab.analysis.intervals.binomial import t_quantile  # noqa: E402
from lab.analysis.latency import by_route  # noqa: E402
from lab.analysis.machine import figures, judged_seconds  # noqa: E402
from lab.analysis.verdict.answers import EXIT_CODES, INVALID  # noqa: E402
from lab.archive import Run  # noqa: E402
from lab.runtimes.base import UpOptions  # noqa: E402
from lab.runtimes.processes.runtime import ProcessesRuntime  # noqa: E402

LEVELS = (10, 25, 50, 75, 100, 150, 200)  # percent of one core
ORDERS = "POST /api/orders"
MARGIN = 0.1
ERRORS_MORE_MAX = 0.01
QUIET_SHARE_MAX = 0.05  # an undisturbed window with more than this is not undisturbed
# takes a share of each 20 ms, as CPU time: waiting does not count
DISTURBER = """
import os, sys, time
share, parent = float(sys.argv[1]), int(sys.argv[2])
while os.getppid() == parent:
    began, used = time.monotonic(), time.process_time()
    while time.process_time() - used < 0.02 * share:
        pass
    time.sleep(max(0.0, began + 0.02 - time.monotonic()))
"""


@dataclass(frozen=True)
class Window:
    """One window of load. `share` and `others`: of all CPUs."""

    level: int
    share: float
    others: float
    lab: float
    orders: int
    p95_ms: float
    error_ratio: float


@contextmanager
def disturbers(level: int) -> Iterator[list[float]]:
    """Take `level` percent of a core; at the end the list has the share of all CPUs that they got."""
    got: list[float] = []
    began = time.monotonic()
    parts = [1.0] * (level // 100) + [level % 100 / 100] * (level % 100 > 0)
    processes = [
        # in a session of its own, as a program that another user started
        subprocess.Popen(
            [sys.executable, "-c", DISTURBER, str(part), str(os.getpid())], start_new_session=True
        )
        for part in parts
    ]
    used_s = 0.0
    try:
        yield got
    finally:
        for process in processes:
            process.kill()
            _, _, usage = os.wait4(process.pid, 0)
            used_s += usage.ru_utime + usage.ru_stime
        got.append(used_s / (time.monotonic() - began) / (os.cpu_count() or 1))


def measure(level: int, profile: str, seconds: float, seed: int, port_base: int) -> Window:
    """A window of load beside the disturbers. The seed, and so the schedule, is the same for all."""
    command = [sys.executable, "-m", "lab.cli", "load", profile, "--duration", str(seconds)]
    command += ["--seed", str(seed), "--port-base", str(port_base), "--json"]
    paths = os.pathsep.join([str(ROOT / "system"), str(ROOT)])
    with disturbers(level) as got:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": paths},
            capture_output=True,
            text=True,
        )
    # invalid is expected: the disturbers take more of the machine than a valid load allows
    if done.returncode not in (0, EXIT_CODES[INVALID]) or not done.stdout:
        sys.exit(f"lab load failed: {done.stdout}{done.stderr}")
    run = Run(json.loads(done.stdout)["run"])
    if run.info["problems"]:
        sys.exit(f"lab load failed: {run.info['problems']}")
    table = by_route(run, "all", intervals=False).set_index("route")
    machine = figures(judged_seconds(run))
    orders: Any = table.loc[ORDERS]
    return Window(
        *(level, got[0], machine["others"], machine["lab"]),
        *(int(orders["requests"]), float(orders["p95_ms"])),
        float(table["errors"].sum() / table["requests"].sum()),
    )


def plan(rounds: int, levels: Sequence[int] = LEVELS) -> list[int]:
    """The levels in order: an undisturbed window before each, and every second round backwards."""
    order: list[int] = []
    for number in range(rounds):
        for level in levels if number % 2 == 0 else reversed(levels):
            order += [0, level]
    return order


def bound(undisturbed: Sequence[Window]) -> float:
    """The A/A bound of log(p95 / median)."""
    logs = [math.log(each.p95_ms) for each in undisturbed]
    n = len(logs)
    chance = t_quantile(0.975, n - 1) * stdev(logs) * math.sqrt(1 + 1 / n)
    return max(chance, math.log1p(MARGIN))


def derive(windows: Sequence[Window]) -> dict[str, Any]:
    """Effects by level, and the threshold (None if no level crosses the bound)."""
    undisturbed = [each for each in windows if each.level == 0]
    usual_ms = median(each.p95_ms for each in undisturbed)
    limit, errors = bound(undisturbed), max(each.error_ratio for each in undisturbed)
    levels: list[dict[str, Any]] = []
    threshold, below = None, (0.0, 0.0)
    for level in sorted({each.level for each in windows}):
        own = [each for each in windows if each.level == level]
        effects = [math.log(each.p95_ms / usual_ms) for each in own]
        share, effect = fmean(each.share for each in own), fmean(effects)
        failed = fmean(each.error_ratio for each in own)
        above = sum(each > limit for each in effects) / len(effects)
        levels.append(
            {
                **{"level": level, "share": share, "others": fmean(each.others for each in own)},
                **{"p95_ratio": math.exp(effect), "above": above, "error_ratio": failed},
            }
        )
        if threshold is None and effect > limit:
            part = (limit - below[1]) / (effect - below[1])
            threshold = below[0] + part * (share - below[0])
        elif threshold is None and failed > errors + ERRORS_MORE_MAX:
            threshold = below[0]
        below = (share, effect)
    return {
        **{"threshold": threshold, "bound": math.exp(limit), "usual_p95_ms": usual_ms},
        **{"others_undisturbed": max(each.others for each in undisturbed), "levels": levels},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="checkout")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--levels", type=int, nargs="+", default=LEVELS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--port-base", type=int, default=21780)
    given = parser.parse_args()
    windows: list[Window] = []
    with tempfile.TemporaryDirectory(prefix="quiet-") as folder:
        os.environ["LAB_DIR"] = folder
        runtime = ProcessesRuntime(given.port_base)
        try:
            runtime.up(UpOptions())
            measure(0, given.profile, given.seconds, given.seed, given.port_base)  # warms up
            for level in plan(given.rounds, given.levels):
                one = measure(level, given.profile, given.seconds, given.seed, given.port_base)
                windows.append(one)
                print(
                    f"level {level:3}%  share {one.share:6.1%}  others {one.others:6.1%}  lab {one.lab:6.1%}"
                    f"  p95 {one.p95_ms:7.1f} ms  errors {one.error_ratio:.2%}",
                    file=sys.stderr,
                )
        finally:
            runtime.down()
    found = derive(windows) | {"cpus": os.cpu_count(), "profile": given.profile}
    print(json.dumps(found | {"windows": [asdict(each) for each in windows]}, indent=1))
    quiet = found["others_undisturbed"] <= QUIET_SHARE_MAX
    if not quiet:
        print("the machine was not quiet: no threshold can be derived", file=sys.stderr)
    return int(not quiet or found["threshold"] is None)


if __name__ == "__main__":
    sys.exit(main())
