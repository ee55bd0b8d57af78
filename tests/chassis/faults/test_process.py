"""Faults of the whole process, measured by the kernel: limits, memory, processors, clock and loop."""

import errno
import http.client
import json
import os
import socket
import sys
import time
from datetime import datetime
from pathlib import Path

import jwt
import nats as nats_py
import psutil
import pytest

from chassis.http.auth import SERVICE_TOKEN_S, ServiceTokens
from tests.chassis.subject import SECRET, TOKEN, Subject
from tests.fixtures.servers import run_apart
from tests.fixtures.waiting import wait_until

MB = 1_000_000
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/<pid>/limits")


def resident_mb(subject: Subject) -> float:
    return float(psutil.Process(subject.pid).memory_info().rss) / MB


def children(subject: Subject) -> list[psutil.Process]:
    return list(psutil.Process(subject.pid).children(recursive=True))


def fd_limit(subject: Subject) -> int:
    return int(psutil.Process(subject.pid).rlimit(psutil.RLIMIT_NOFILE)[0])


def test_memory_grows_to_its_size_and_is_released(subject: Subject) -> None:
    before = resident_mb(subject)
    target = before + 150
    fault = subject.add("memory", attributes={"to_mb": target})
    assert abs(resident_mb(subject) - target) < 8
    subject.lab("DELETE", f"faults/{fault['fault_id']}")
    assert resident_mb(subject) < before + 10
    assert "already" in subject.refuse("memory", attributes={"to_mb": 1})
    assert "available" in subject.refuse("memory", attributes={"to_mb": 1e9})
    assert resident_mb(subject) < before + 10


def test_a_second_memory_fault_is_refused_while_one_is_active(subject: Subject) -> None:
    subject.add("memory", attributes={"to_mb": resident_mb(subject) + 50})
    assert "only one memory at a time" in subject.refuse("memory", attributes={"to_mb": 9000})


def test_burning_uses_its_duty_of_a_processor_and_no_worker_stays(subject: Subject) -> None:
    fault = subject.add("burn_cpu", attributes={"duty_percent": 25, "workers": 1})
    (worker,) = children(subject)

    def takes_its_duty() -> bool:
        """Measured over a span; its own start, or another program's work, can falsify one."""
        used, began = sum(worker.cpu_times()[:2]), time.monotonic()
        time.sleep(1.0)  # the span
        duty = (sum(worker.cpu_times()[:2]) - used) / (time.monotonic() - began)
        return 0.20 <= duty <= 0.30

    wait_until(takes_its_duty, "a duty of 25 percent", 25)
    assert subject.lab("GET", "residue").body["children"] in ([worker.pid], [])
    subject.lab("DELETE", f"faults/{fault['fault_id']}")
    assert children(subject) == []


def test_burners_end_at_their_ttl(subject: Subject) -> None:
    subject.add("burn_cpu", attributes={"duty_percent": 5, "workers": 3}, ttl_s=1.5)
    assert len(children(subject)) == 3
    wait_until(lambda: children(subject) == [], "the workers to be gone")


@linux_only
def test_a_lowered_fd_limit_is_the_kernels_and_refuses_connections(subject: Subject) -> None:
    before, limit = fd_limit(subject), 10  # 0 to 9 are open in any process that serves
    # new connections will fail: the fault is added and read over this one
    kept = http.client.HTTPConnection("127.0.0.1", subject.port, timeout=5)
    spec = {"kind": "fd_limit", "attributes": {"limit": limit}, "ttl_s": 1.5}
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    kept.request("POST", "/_lab/faults", json.dumps(spec), headers)
    assert "effective_s" in json.load(kept.getresponse())
    try:
        assert fd_limit(subject) == limit
        kept.request("GET", "/open")
        assert json.load(kept.getresponse()) == errno.EMFILE
        assert answer_on_a_new_connection(subject) == b""
    finally:
        kept.close()
        wait_until(lambda: fd_limit(subject) == before, "the limit to be back at the TTL")
    assert subject.ask("GET", "/open", timeout_s=5).body == 0


def answer_on_a_new_connection(subject: Subject) -> bytes:
    """The answer of /health within 300 ms."""
    with socket.create_connection(("127.0.0.1", subject.port), 2) as conn:
        conn.settimeout(0.3)
        try:
            conn.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            return conn.recv(100)
        except (TimeoutError, ConnectionError):
            return b""


@linux_only
def test_a_limit_without_an_effect_is_refused(subject: Subject) -> None:
    before = fd_limit(subject)
    assert "expected 8 up to" in subject.refuse("fd_limit", attributes={"limit": 3})
    assert "expected 8 up to" in subject.refuse("fd_limit", attributes={"limit": before})
    assert fd_limit(subject) == before


def off_by_s(subject: Subject) -> float:
    """The service's clock minus the host's, uncertain by half a round trip; the best of several."""
    measured: list[tuple[float, float]] = []
    for _ in range(5):
        sent = time.time()
        now_s: float = subject.lab("GET", "time").body["now_s"]
        answered = time.time()
        measured.append((answered - sent, now_s - (sent + answered) / 2))
    return min(measured)[1]


def wait_until_off_by(subject: Subject, expected_s: float) -> None:
    """To within 5 ms; other work on the machine makes a single measurement less exact."""
    wait_until(lambda: abs(off_by_s(subject) - expected_s) < 0.005, f"off by {expected_s} s")


def test_the_clock_jumps_by_its_offset_and_back(subject: Subject) -> None:
    wait_until_off_by(subject, 0)
    first = subject.add("skew", attributes={"offset_ms": -3_600_000})
    wait_until_off_by(subject, -3600)
    subject.add("skew", attributes={"offset_ms": 5000})
    wait_until_off_by(subject, -3595)
    subject.lab("DELETE", f"faults/{first['fault_id']}")
    wait_until_off_by(subject, 5)
    subject.clear()
    wait_until_off_by(subject, 0)


@pytest.mark.parametrize("offset_s", [-400, 400])
def test_a_wrong_clock_is_in_the_tokens_that_the_service_mints(
    subject: Subject, offset_s: int
) -> None:
    subject.add("skew", attributes={"offset_ms": offset_s * 1000})
    assert subject.ask("POST", "/call").status == 200
    shown = subject.ask("GET", "/seen").body[-1]["authorization"].removeprefix("Bearer ")
    expires = jwt.decode(shown, options={"verify_signature": False})["exp"]
    assert abs(expires - (time.time() + SERVICE_TOKEN_S + offset_s)) < 5


@pytest.mark.parametrize(("offset_s", "status"), [(-800, 200), (0, 200), (800, 200), (1200, 401)])
def test_a_token_is_checked_by_the_services_own_clock(
    subject: Subject, offset_s: int, status: int
) -> None:
    token = ServiceTokens("tester", SECRET).mint("subject")
    if offset_s:
        subject.add("skew", attributes={"offset_ms": offset_s * 1000})
    answer = subject.ask("GET", "/who", token=token)
    assert answer.status == status, answer


def test_a_wrong_clock_dates_the_events_of_the_service(subject: Subject, nats: str) -> None:
    async def occurred_at() -> datetime:
        client = await nats_py.connect(nats)
        try:
            subject_name = "events.ThingHappened"
            last = await client.jetstream().get_last_msg("EVENTS", subject_name)
        finally:
            await client.close()
        assert last.data is not None
        return datetime.fromisoformat(json.loads(last.data)["occurred_at"])

    subject.add("skew", attributes={"offset_ms": -3_600_000})
    number = 999_001
    subject.ask("POST", f"/events/{number}")
    wait_until(lambda: number in subject.ask("GET", "/handled").body, "the event to be handled")
    occurred = run_apart(occurred_at())
    assert abs(occurred.timestamp() - (time.time() - 3600)) < 10


def test_the_clock_drifts_at_its_rate(subject: Subject) -> None:
    subject.add("skew", attributes={"drift_ms_per_s": 1000})
    first, at = off_by_s(subject), time.monotonic()
    time.sleep(0.5)  # the span
    drifted, lasted = off_by_s(subject) - first, time.monotonic() - at
    assert 0.9 * 0.5 <= drifted <= 1.1 * lasted


def test_a_blocked_loop_stops_everything_for_the_given_time(subject: Subject) -> None:
    fault = subject.add("block_loop", attributes={"block_ms": 300, "every_ms": 100}, ttl_s=60)

    def slowest() -> float:
        began, seconds = time.monotonic(), [0.0]
        while time.monotonic() - began < 0.9:
            seconds.append(subject.ask("GET", "/health").seconds)
        return max(seconds)

    wait_until(lambda: 0.2 <= slowest() < 0.9, "a request that waits for one block, not for three")
    assert subject.lab("DELETE", f"faults/{fault['fault_id']}").status == 204
    wait_until(lambda: slowest() < 0.2, "no request that waits for a block")
    assert subject.fault(fault["fault_id"])["hits"] >= 1


def test_a_block_longer_than_the_ttl_is_cut_to_it(subject: Subject) -> None:
    fault = subject.add("block_loop", attributes={"block_ms": 60_000, "every_ms": 10}, ttl_s=0.5)
    assert subject.ask("GET", "/health", timeout_s=5).status == 200
    wait_until(lambda: subject.fault(fault["fault_id"])["removed_s"], "its end")
    row = subject.fault(fault["fault_id"])
    assert row["removed_s"] - row["commanded_s"] < 60, "less than the block"


def test_faults_of_all_kinds_at_once_leave_nothing(subject: Subject) -> None:
    before = resident_mb(subject)
    subject.add("skew", attributes={"offset_ms": 1000})
    subject.add("burn_cpu", attributes={"duty_percent": 5})
    subject.add("memory", attributes={"to_mb": before + 50})
    subject.add("lock", attributes={"table": "rows"})
    subject.add("pool_hold", attributes={"connections": 2})
    subject.add("latency", attributes={"latency_ms": 1})
    left = subject.left()
    assert len([each for each in left if each.startswith("fault ")]) == 6
    assert any("clock off" in each for each in left)
    assert any("ballast" in each for each in left)
    subject.clear()
    assert subject.left() == []
    assert children(subject) == []
    assert resident_mb(subject) < before + 15


@linux_only
def test_log_writes_fail_with_enospc_and_the_service_continues(subject: Subject) -> None:
    log = Path(f"/proc/{subject.pid}/fd/1")
    own = os.readlink(log)
    fault = subject.add("disk_full", point="process")
    assert os.readlink(log) == "/dev/full"
    size = subject.log.stat().st_size  # the command itself was still logged
    for _ in range(20):
        assert subject.ask("POST", "/complain").status == 200
    assert subject.log.stat().st_size == size
    subject.lab("DELETE", f"faults/{fault['fault_id']}")
    assert os.readlink(log) == own
    subject.ask("POST", "/complain")
    wait_until(lambda: subject.log.stat().st_size > size, "the log to grow again")


@linux_only
def test_a_slow_disk_under_the_log_blocks_a_faster_writer(subject: Subject) -> None:
    control = sorted(subject.ask("POST", "/complain").seconds for _ in range(10))
    fault = subject.add("slow_disk", point="process", attributes={"latency_ms": 300})
    slowest = max(subject.ask("POST", "/complain").seconds for _ in range(20))
    # the wait for a page may have started a little before this request
    assert slowest >= 0.2 > control[5], f"{slowest} s, {control} s without"
    threads = subject.lab("GET", "residue").body["threads"]
    subject.lab("DELETE", f"faults/{fault['fault_id']}")
    wait_until(
        lambda: subject.lab("GET", "residue").body["threads"] < threads, "the disk's thread ends"
    )
    lines = [line for line in subject.log.read_text().splitlines() if "complaint" in line]
    assert len(lines) >= 30
    assert all(json.loads(line) for line in lines), "each line is whole"
