"""`lab faults ...` against a real instance: what it prints, how it ends, what the instance then does."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from lab import cli
from lab.runtimes.posix import pids
from lab.state import Entry, Lab
from tests.chassis.subject import SECRET, TOKEN, Subject
from tests.fixtures.waiting import wait_until

PORT_BASE = 20080


@pytest.fixture(scope="module")
def instance(new_subject: Callable[..., Subject]) -> Subject:
    subject = new_subject()
    subject.start()
    return subject


@pytest.fixture
def subject(
    instance: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Subject]:
    """The instance, listed in the lab.json of a lab that has no other."""
    monkeypatch.setenv("LAB_DIR", str(tmp_path))
    monkeypatch.setenv("LAB_PORT_BASE", str(PORT_BASE))
    home = tmp_path / str(PORT_BASE)
    home.mkdir()
    entry = Entry("subject-1", instance.pid, pids.identity(instance.pid), "subject", instance.url)
    Lab(
        PORT_BASE, str(home), "", 0.0, TOKEN, SECRET, settings={}, addresses={}, stores={},
        instances=[entry],
    ).save()  # fmt: skip
    yield instance
    instance.clear()


@pytest.fixture
def lab(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    def run(*words: str) -> tuple[int, str]:
        """Exit code and all output."""
        code = cli.run(["faults", *words])
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return run


Run = Callable[..., tuple[int, str]]


def test_a_fault_is_added_listed_and_cleared(subject: Subject, lab: Run) -> None:
    code, printed = lab("add", "subject", "abort", "status=502", "--scope", "route=/plain")
    assert code == 0, printed
    assert subject.ask("GET", "/plain").status == 502
    code, printed = lab("list")
    assert (code, "abort" in printed, "1 hits" in printed) == (0, True, True)
    code, printed = lab("clear")
    assert (code, printed.strip()) == (0, "1 removed")
    assert subject.ask("GET", "/plain").status == 200


def test_without_a_point_the_kinds_first_point_is_used(subject: Subject, lab: Run) -> None:
    code, printed = lab("add", "subject-1", "skew", "offset_ms=-5000", "--json")
    assert code == 0, printed
    assert json.loads(printed)["items"][0]["point"] == "process"
    assert subject.lab("GET", "residue").body["skew_s"] == pytest.approx(-5)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("add", "subjct", "noop"), "Did you mean subject"),
        (("add", "subject", "latancy", "latency_ms=5"), "did you mean 'latency'?"),
        (("add", "subject", "latency", "latency=5"), "did you mean 'latency_ms'?"),
        (("add", "subject", "latency", "latency_ms=much"), "expected a number"),
        (("add", "subject", "noop", "--point", "outbond"), "did you mean 'outbound'?"),
        (("add", "subject", "noop", "--scope", "shar=1"), "did you mean 'share'?"),
        (("add", "subject", "noop", "--scope", "share"), "expected name=value"),
        (("add", "subject", "noop", "--ttl", "0"), "ttl_s"),
        (("audit", "subjct"), "Did you mean subject"),
    ],
)
def test_a_wrong_argument_ends_with_2_and_a_hint(
    subject: Subject, lab: Run, words: tuple[str, ...], expected: str
) -> None:
    code, printed = lab(*words)
    assert (code, expected in printed) == (2, True), printed
    assert subject.armed() == []


def test_an_audit_of_a_clean_instance_ends_with_0(subject: Subject, lab: Run) -> None:
    code, printed = lab("audit")
    assert code == 0, printed
    assert "1 instances: no fault, limit, child process, skew or ballast left" in printed
    code, printed = lab("audit", "--json")
    (item,) = json.loads(printed)["instances"]
    assert (code, item["left"], item["seen"]["pid"]) == (0, [], subject.pid)


@pytest.mark.parametrize(
    ("kind", "attributes", "finding"),
    [
        ("latency", {"latency_ms": 1}, "(latency)"),
        ("burn_cpu", {"duty_percent": 5}, "child process"),
        ("skew", {"offset_ms": 2000}, "clock off by 2 s"),
        ("memory", {"to_mb": 250}, "bytes of ballast"),
        ("fd_limit", {"limit": 200}, "fd limit 200"),
    ],
)
def test_an_audit_finds_an_active_fault_and_ends_with_1(
    subject: Subject, lab: Run, kind: str, attributes: dict[str, Any], finding: str
) -> None:
    subject.add(kind, attributes=attributes)
    code, printed = lab("audit")
    assert (code, finding in printed) == (1, True), printed
    subject.clear()
    assert lab("audit")[0] == 0


def test_an_audit_finds_what_the_instance_does_not_report(subject: Subject, lab: Run) -> None:
    """A limit changed behind the instance's back, and a process that does not answer."""
    if not hasattr(psutil.Process, "rlimit"):
        pytest.skip("this system does not report another process' limits")
    process = psutil.Process(subject.pid)
    before = process.rlimit(psutil.RLIMIT_NOFILE)
    process.rlimit(psutil.RLIMIT_NOFILE, (300, before[1]))
    try:
        code, printed = lab("audit")
        assert (code, "fd limit 300" in printed) == (1, True), printed
    finally:
        process.rlimit(psutil.RLIMIT_NOFILE, before)
    os.kill(subject.pid, signal.SIGSTOP)
    try:
        wait_until(lambda: process.status() == psutil.STATUS_STOPPED, "the stop")
        code, printed = lab("audit")
        assert (code, "stopped" in printed, "nothing proven" in printed) == (1, True, True)
    finally:
        os.kill(subject.pid, signal.SIGCONT)
    assert lab("audit")[0] == 0


def test_without_a_lab_an_audit_proves_nothing(
    lab: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_DIR", str(tmp_path))
    code, printed = lab("audit", "--port-base", "20180")
    assert (code, "lab up" in printed) == (1, True)
