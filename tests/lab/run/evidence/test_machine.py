"""The sampler of the machine: whose CPU time it is, and rows without gaps."""

import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lab.run.evidence.cpu_times import ProcessTimes, all_processes, busiest, family, used_by
from lab.run.evidence.machine import MachineSampler, Reading, row
from lab.topology import PROJECT
from tests.fixtures.waiting import wait_until

BURN = [sys.executable, "-c", "print(flush=True)\nwhile True: pass"]
BURN_IN_CHILDREN = ["sh", "-c", "echo; while :; do seq 3000 > /dev/null; done"]


def rows_of(run_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run_dir / "machine.ndjson").read_text().splitlines()]


def mean(rows: list[dict[str, Any]], name: str) -> float:
    return sum(float(each[name]) for each in rows) / len(rows)


@pytest.mark.parametrize("command", [BURN, BURN_IN_CHILDREN], ids=["itself", "in children"])
def test_a_disturber_counts_as_others_and_not_as_the_labs_own(
    tmp_path: Path, command: list[str]
) -> None:
    """Two samplers at once: the disturber is outside the lab for one, a part of the lab for the other."""
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    lab, disturber = (each.pid for each in processes)
    folders = [tmp_path / "outside", tmp_path / "inside"]
    try:
        for each in processes:
            assert each.stdout is not None
            each.stdout.readline()
        for folder in folders:
            folder.mkdir()
        samplers = [
            MachineSampler(folders[0], lambda _: {lab}),
            MachineSampler(folders[1], lambda _: {lab, disturber}),
        ]
        files = [folder / "machine.ndjson" for folder in folders]
        wait_until(lambda: all(file.stat().st_size for file in files), "samples")
        assert all(sampler.stop()["samples"] for sampler in samplers)
    finally:
        for each in processes:
            each.kill()
            each.communicate()
    outside, inside = map(rows_of, folders)
    share, of_both = mean(outside, "cpu_lab"), mean(inside, "cpu_lab")
    assert share > 0.0
    # both burn as much as they get: about the same
    assert of_both - share > 0.2 * share
    assert mean(outside, "cpu_user") + mean(outside, "cpu_system") - share > 0.2 * share
    if command is BURN:
        assert all(each["busiest_other"] for each in outside)


def test_rows_follow_each_other_without_a_gap_and_their_shares_sum_to_one(tmp_path: Path) -> None:
    sampler = MachineSampler(tmp_path, lambda _: {os.getpid()})
    wait_until(lambda: (tmp_path / "machine.ndjson").read_text().count("\n") > 1, "two samples")
    stated = sampler.stop()
    rows = rows_of(tmp_path)
    assert len(rows) == stated["samples"] >= 2
    for before, after in itertools.pairwise(rows):
        gap_s = after["time_s"] - before["time_s"] - after["interval_s"] - after["clock_step_s"]
        assert abs(gap_s) < 1e-6
        assert abs(after["clock_step_s"]) < 0.01
    for each in rows:
        kinds = [v for k, v in each.items() if k.startswith("cpu_") and k != "cpu_lab" and v]
        assert abs(sum(kinds) - 1) < 1e-9
        assert each["memory_available_bytes"] > 0
    if sys.platform == "linux":
        assert {"cpu_steal", "cpu_iowait", "runnable"} <= set(stated["columns"])


def test_a_step_of_the_wall_clock_and_a_missing_kind_are_seen() -> None:
    before = Reading(1000.0, 50.0, {"user": 1.0, "idle": 9.0}, {}, (), None, None, 1)
    after = Reading(1004.0, 51.0, {"user": 1.5, "idle": 10.5}, {}, (), None, None, 1)
    found = row(before, after, 0.02)
    assert found["clock_step_s"] == 3.0
    assert found["interval_s"] == 1.0
    assert found["late_s"] == 0.02
    assert (found["cpu_user"], found["cpu_idle"]) == (0.25, 0.75)
    assert found["cpu_steal"] is None
    assert found["waiting"] is None


def process(
    parent: int, used_s: float, waited_s: float = 0.0, started: float = 1.0
) -> ProcessTimes:
    return ProcessTimes(parent, "p", started, used_s, waited_s)


def test_the_time_of_ended_children_counts_once_through_their_parent() -> None:
    before = {1: process(0, 1.0), 2: process(1, 4.0), 3: process(9, 1.0)}
    # 2 used 0.5 s more and ended; another child lived for 0.25 s in between; 3 is not of the family
    after = {1: process(0, 1.5, waited_s=4.75), 3: process(9, 7.0)}
    own = family(after, [1])
    assert own == {1}
    assert used_by(before, after, own) == 0.5 + 0.5 + 0.25
    assert busiest(before, after, own) == "p"


def test_the_orphan_of_a_killed_process_counts_once_through_the_one_that_adopts_it() -> None:
    """PostgreSQL's parent process is killed, and the supervisor waits for it and for its children."""
    before = {1: process(0, 1.0), 2: process(1, 3.0), 3: process(2, 90.0)}
    after = {1: process(0, 1.0, waited_s=93.5)}
    assert used_by(before, after, family(after, [1])) == 0.5
    by_init = {1: process(0, 1.25, waited_s=3.5)}
    assert used_by(before, by_init, family(by_init, [1])) == 0.25


def test_a_new_process_with_the_pid_of_an_old_one_starts_at_zero() -> None:
    before = {1: process(0, 1.0), 2: process(1, 40.0)}
    after = {1: process(0, 1.0, waited_s=40.0), 2: process(1, 0.25, started=2.0)}
    assert used_by(before, after, family(after, [1])) == 0.25


def test_the_family_is_the_roots_with_all_their_descendants() -> None:
    processes = {1: process(0, 0), 2: process(1, 0), 3: process(2, 0), 4: process(0, 0)}
    assert family(processes, [2, 77]) == {2, 3}
    assert os.getpid() in family(all_processes(), [os.getppid()])


def test_a_sampler_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    program = (
        "import os, pathlib, sys\n"
        "from lab.run.evidence.machine import MachineSampler\n"
        "MachineSampler(pathlib.Path(sys.argv[1]), lambda _: {os.getpid()})\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=PROJECT, timeout=30)
    assert done.returncode == 0


def test_the_last_row_covers_the_time_until_stop_also_just_after_a_row(tmp_path: Path) -> None:
    sampler = MachineSampler(tmp_path, lambda _: set())
    file = tmp_path / "machine.ndjson"
    wait_until(lambda: file.stat().st_size, "a sample", poll_s=0.005)
    stopped_s = time.time()
    sampler.stop()
    assert rows_of(tmp_path)[-1]["time_s"] >= stopped_s
