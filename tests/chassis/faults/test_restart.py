"""Faults around restarts: crashes, crash loops, slow starts, and what a death leaves."""

import contextlib
import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from lab.http_client import NoReplyError
from tests.chassis.subject import Subject
from tests.fixtures.waiting import wait_until

NewSubject = Callable[..., Subject]


@pytest.fixture(scope="module")
def own(new_subject: NewSubject) -> Subject:
    """An instance that a test may kill."""
    return new_subject()


@pytest.fixture
def mortal(own: Subject) -> Iterator[Subject]:
    if not own.running:
        own.start()
    yield own
    if own.running:
        own.clear()
        assert own.left() == []


def kept(subject: Subject) -> Path:
    return subject.log.parent / "kept" / "subject-1.json"


@pytest.mark.parametrize(
    ("point", "scope", "done"), [("database", {"method": "COMMIT"}, False), ("publish", {}, True)]
)
def test_a_crash_happens_at_its_point_after_it_is_logged(
    mortal: Subject, point: str, scope: dict[str, str], done: bool
) -> None:
    """Before the commit nothing is done; before the publish the event is committed, and published later."""
    number = 500 + done
    fault = mortal.add("crash", point=point, scope=scope)
    path = f"/events/{number}"
    if done:
        mortal.ask("POST", path)
    else:
        with pytest.raises(NoReplyError):
            mortal.ask("POST", path)
    assert mortal.wait() == -signal.SIGKILL
    phases = [
        line["phase"] for line in mortal.lines("fault") if line["fault_id"] == fault["fault_id"]
    ]
    assert phases == ["commanded", "effective"]
    mortal.start()
    assert mortal.armed() == []
    mortal.ask("POST", "/events/599")
    expected = {599, number} if done else {599}
    wait_until(lambda: expected <= set(mortal.ask("GET", "/handled").body), "the events")
    assert (number in mortal.ask("GET", "/handled").body) is done


def test_a_crash_loop_kills_each_process_after_its_time_until_the_ttl(mortal: Subject) -> None:
    began = time.monotonic()
    fault = mortal.add("crash_loop", attributes={"after_s": 0.3}, ttl_s=300)
    assert mortal.wait() == -signal.SIGKILL
    assert time.monotonic() - began >= 0.25
    # each next process ends by itself, ready or not
    for _ in range(2):
        with contextlib.suppress(AssertionError):
            mortal.start()
        assert mortal.wait() == -signal.SIGKILL
    (row,) = json.loads(kept(mortal).read_text())
    assert (row["hits"], row["commanded_s"]) == (3, fault["commanded_s"])
    # as if the TTL ended while no process was running
    kept(mortal).write_text(json.dumps([{**row, "commanded_s": row["commanded_s"] - 300}]))
    mortal.start()
    assert mortal.armed() == []
    assert not kept(mortal).exists()
    over = mortal.fault(fault["fault_id"])
    assert (over["hits"], over["removed_s"]) == (3, pytest.approx(fault["commanded_s"]))


def test_a_removed_crash_loop_has_ended(mortal: Subject) -> None:
    fault = mortal.add("crash_loop", attributes={"after_s": 0.8})
    assert "only one crash_loop" in mortal.refuse("crash_loop")
    mortal.lab("DELETE", f"faults/{fault['fault_id']}")
    assert not kept(mortal).exists()
    pid = mortal.pid
    time.sleep(
        1.0
    )  # longer than the loop's 0.8 s: nothing happens, so there is nothing to wait for
    assert psutil.Process(pid).is_running()
    assert mortal.ask("GET", "/health").status == 200


def waits_before_ready(subject: Subject, fault_id: str) -> list[float]:
    """For each start that the fault hit, seconds from its hit to "ready"; from the log."""
    waits, hit_s = [], None
    for text in subject.log.read_text().splitlines():
        line = json.loads(text) if text.startswith("{") else {}
        if line.get("fault_id") == fault_id and line["phase"] == "effective":
            hit_s = line["time"]
        elif hit_s is not None and line.get("message", "").startswith("ready on"):
            waits.append(line["time"] - hit_s)
            hit_s = None
    return waits


def test_a_slow_start_delays_readiness_by_its_time(mortal: Subject) -> None:
    fault = mortal.add("slow_start", attributes={"delay_s": 1.2}, ttl_s=60)
    mortal.stop()  # a graceful end does not end it either
    assert mortal.start() >= 1.2
    (waited,) = waits_before_ready(mortal, fault["fault_id"])
    assert waited >= 1.2
    mortal.clear()
    mortal.stop()
    mortal.start()
    assert len(waits_before_ready(mortal, fault["fault_id"])) == 1


def test_burners_end_with_a_killed_process(mortal: Subject) -> None:
    mortal.add("burn_cpu", attributes={"duty_percent": 10, "workers": 2}, ttl_s=60)
    workers = psutil.Process(mortal.pid).children()
    assert len(workers) == 2
    mortal.stop(signal.SIGKILL)
    wait_until(lambda: not any(map(burning, workers)), "the workers to be gone")


def burning(worker: psutil.Process) -> bool:
    """Alive, and no zombie: without a process that reaps orphans the dead stay on the list."""
    try:
        return bool(worker.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_a_graceful_end_does_not_wait_for_faults(mortal: Subject) -> None:
    mortal.add("pool_hold", attributes={"connections": 10}, ttl_s=60)
    mortal.add("lock", attributes={"table": "rows"}, ttl_s=60)
    assert mortal.stop() in (0, -signal.SIGTERM)  # fails after 15 s, long before the faults end


def test_an_unreadable_file_of_saved_faults_is_logged_and_deleted(mortal: Subject) -> None:
    mortal.stop()
    kept(mortal).parent.mkdir(exist_ok=True)
    kept(mortal).write_text("{")
    mortal.start()
    assert mortal.armed() == []
    assert "cannot be read and is deleted" in mortal.log.read_text()


def test_a_fault_that_outlives_restarts_is_refused_without_a_folder(
    new_subject: NewSubject,
) -> None:
    subject = new_subject(LAB_FAULTS="")
    subject.start()
    assert "LAB_FAULTS" in subject.refuse("slow_start", attributes={"delay_s": 1})


def test_outside_a_lab_a_saved_fault_is_ignored(new_subject: NewSubject) -> None:
    subject = new_subject(LAB_TOKEN="")
    row = {
        "spec": {"kind": "abort", "ttl_s": 60}, "commanded_s": time.time(), "hits": 0,
    }  # fmt: skip
    kept(subject).parent.mkdir()
    kept(subject).write_text(json.dumps([row]))
    subject.start()
    assert subject.ask("GET", "/plain").status == 200
    assert subject.lab("GET", "faults").status == 404
