"""Faults on requests: status counts, bytes and timings as a client on the network sees them."""

import http.client
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from chassis.faults import Injector
from lab.http_client import NoReplyError, exchange
from tests.chassis.subject import Subject
from tests.fixtures.waiting import wait_until

SEED = 7


def statuses(subject: Subject, path: str, n: int) -> list[int]:
    return [subject.ask("GET", path).status for _ in range(n)]


def read_raw(subject: Subject, path: str) -> bytes:
    """Reads every byte until the server closes."""
    with socket.create_connection(("127.0.0.1", subject.port), 5) as conn:
        conn.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: conn.recv(65536), b""))


def seconds(subject: Subject, path: str) -> float:
    reply = subject.ask("GET", path)
    assert reply.status == 200
    return reply.seconds


def test_a_request_delay_is_never_too_short_and_ends_with_the_fault(subject: Subject) -> None:
    fault = subject.add("latency", attributes={"latency_ms": 100}, scope={"route": "/plain"})
    delayed = [seconds(subject, "/plain") for _ in range(5)]
    assert min(delayed) >= 0.1
    wait_until(lambda: seconds(subject, "/one") < 0.1, "another route without the delay")
    subject.lab("DELETE", f"faults/{fault['fault_id']}")
    wait_until(lambda: seconds(subject, "/plain") < 0.05, "the route without the delay")
    assert subject.fault(fault["fault_id"])["hits"] == 5


def test_metrics_show_a_fault_while_it_is_effective(subject: Subject) -> None:
    def in_effect() -> list[str]:
        text = str(exchange("GET", f"http://127.0.0.1:{subject.port}/metrics").body)
        return [line for line in text.splitlines() if line.startswith("breakwater_fault_active{")]

    fault = subject.add("abort", scope={"route": "/plain"})
    assert in_effect() == []
    assert statuses(subject, "/plain", 2) == [503, 503]
    series = f'breakwater_fault_active{{fault="{fault["fault_id"]}",kind="abort"}} 1.0'
    assert in_effect() == [series]
    subject.lab("DELETE", f"faults/{fault['fault_id']}")
    assert in_effect() == []


def test_outbound_delay_hits_the_call_and_not_the_callee(subject: Subject) -> None:
    subject.add(
        "latency", attributes={"latency_ms": 100}, point="outbound", scope={"callee": "subject"}
    )
    assert subject.ask("POST", "/call", {}).seconds >= 0.1
    wait_until(lambda: subject.ask("POST", "/seen", {}).seconds < 0.1, "a callee without the delay")


def test_fail_first_n_and_every_kth_are_exact(subject: Subject) -> None:
    fault = subject.add("abort", scope={"first_n": 3, "route": "/plain"})
    assert statuses(subject, "/plain", 6) == [503] * 3 + [200] * 3
    subject.lab("DELETE", f"faults/{fault['fault_id']}")
    subject.add("abort", attributes={"status": 502}, scope={"every_k": 4, "route": "/plain"})
    assert statuses(subject, "/plain", 8) == [200, 200, 200, 502] * 2


def test_first_n_is_exact_when_requests_come_at_once(subject: Subject) -> None:
    subject.add("abort", scope={"first_n": 5, "route": "/plain"})
    with ThreadPoolExecutor(10) as pool:
        seen = list(pool.map(lambda _: subject.ask("GET", "/plain").status, range(20)))
    assert seen.count(503) == 5


def test_the_same_seed_hits_the_same_requests(subject: Subject) -> None:
    runs = []
    for _ in range(2):
        fault = subject.add("abort", scope={"share": 0.5, "route": "/plain"}, seed=SEED)
        runs.append(statuses(subject, "/plain", 30))
        subject.lab("DELETE", f"faults/{fault['fault_id']}")
    assert runs[0] == runs[1], f"seed {SEED}"
    assert 5 <= runs[0].count(503) <= 25, f"seed {SEED}"


def test_corrupt_flips_exactly_the_given_bits_and_keeps_the_length(subject: Subject) -> None:
    before = read_raw(subject, "/plain").partition(b"\r\n\r\n")
    subject.add("corrupt", attributes={"flips": 3}, scope={"route": "/plain"}, seed=SEED)
    after = read_raw(subject, "/plain").partition(b"\r\n\r\n")
    changed = [a ^ b for a, b in zip(before[2], after[2], strict=True)]
    assert sum(each.bit_count() for each in changed) == 3, f"seed {SEED}"
    assert b"200 OK" in after[0]


def test_truncate_announces_the_full_length_and_sends_a_part(subject: Subject) -> None:
    subject.add("truncate", attributes={"keep_bytes": 20}, scope={"route": "/plain"})
    head, _, body = read_raw(subject, "/plain").partition(b"\r\n\r\n")
    assert len(body) == 20
    assert b"content-length: 211" in head.lower()
    with pytest.raises((NoReplyError, http.client.IncompleteRead)):
        subject.ask("GET", "/plain")


def test_a_corrupted_answer_reaches_the_caller_corrupted(subject: Subject) -> None:
    clean = json.loads(subject.ask("POST", "/call", {}).body["content"])
    subject.add("corrupt", attributes={"flips": 1}, point="outbound", seed=SEED)
    content = subject.ask("POST", "/call", {}).body["content"]
    assert content != json.dumps(clean, separators=(",", ":")), f"seed {SEED}"


@pytest.mark.parametrize("name", ["idempotency-key", "traceparent"])
def test_a_dropped_header_is_not_sent(subject: Subject, name: str) -> None:
    subject.ask("POST", "/call", {})
    assert name in subject.ask("GET", "/seen").body[-1]
    subject.add("drop_header", attributes={"name": name.title()}, point="outbound")
    subject.ask("POST", "/call", {})
    assert name not in subject.ask("GET", "/seen").body[-1]


def test_a_duplicated_request_arrives_twice_with_the_same_key(subject: Subject) -> None:
    before = len(subject.ask("GET", "/seen").body)
    subject.add("duplicate", point="outbound", scope={"first_n": 1})
    assert subject.ask("POST", "/call", {}).status == 200
    arrived = subject.ask("GET", "/seen").body[before:]
    assert [each["idempotency-key"] for each in arrived] == ["one-key"] * 2


def test_outbound_abort_after_does_the_work_and_before_does_not(subject: Subject) -> None:
    before = len(subject.ask("GET", "/seen").body)
    subject.add("abort", attributes={"when": "before"}, point="outbound", scope={"first_n": 1})
    assert subject.ask("POST", "/call", {}).status == 503
    assert len(subject.ask("GET", "/seen").body) == before
    subject.add("abort", attributes={"when": "after"}, point="outbound", scope={"first_n": 1})
    assert subject.ask("POST", "/call", {}).status == 503
    assert len(subject.ask("GET", "/seen").body) == before + 1


def test_health_checks_succeed_during_a_gray_failure(subject: Subject) -> None:
    attributes = {"fail_share": 0.3, "slow_share": 0.3, "latency_ms": 60}
    by_itself = sum(seconds(subject, "/plain") >= 0.06 for _ in range(80))
    subject.add("gray_failure", attributes=attributes, seed=SEED)
    replies = [subject.ask("GET", "/plain") for _ in range(80)]
    # 99.9% binomial interval of 80 x .3
    assert 11 <= sum(reply.status == 500 for reply in replies) <= 38, f"seed {SEED}"
    assert 11 <= sum(reply.seconds >= 0.06 for reply in replies) <= 38 + by_itself, f"seed {SEED}"
    checks = [subject.ask("GET", path) for path in ("/health", "/ready") * 10]
    assert {check.status for check in checks} == {200}


def test_a_bad_release_fails_only_where_its_version_runs(subject: Subject) -> None:
    fault = subject.add("bad_release", attributes={"error_share": 0.5}, scope={"version": "2"})
    assert set(statuses(subject, "/plain", 20)) == {200}
    subject.lab("DELETE", f"faults/{fault['fault_id']}")
    subject.add("bad_release", attributes={"error_share": 0.5}, scope={"version": "1"}, seed=SEED)
    # 99.9% binomial interval of 60 x .5
    assert 18 <= statuses(subject, "/plain", 60).count(500) <= 42, f"seed {SEED}"
    assert "scope.version or scope.arm" in subject.refuse(
        "bad_release", attributes={"error_share": 1}
    )


def test_an_instance_of_another_arm_is_not_hit(subject: Subject) -> None:
    fault = subject.add("abort", scope={"arm": "treatment"})
    assert statuses(subject, "/plain", 3) == [200] * 3
    assert subject.fault(fault["fault_id"])["hits"] == 0


def test_a_stalled_handler_hangs_until_the_fault_ends(subject: Subject) -> None:
    subject.add("stall", scope={"route": "/plain"}, ttl_s=0.4)
    assert seconds(subject, "/plain") >= 0.3
    wait_until(lambda: seconds(subject, "/plain") < 0.3, "a handler that does not stall")


def test_limited_concurrency_queues_requests(subject: Subject) -> None:
    subject.add("concurrency", attributes={"at_once": 1, "hold_ms": 50}, scope={"route": "/plain"})

    def first_and_last() -> bool:
        """Whether the first was answered before the last one's turn."""
        began = time.monotonic()
        with ThreadPoolExecutor(4) as pool:
            took = sorted(pool.map(lambda _: subject.ask("GET", "/plain").seconds, range(4)))
        assert time.monotonic() - began >= 0.2
        return took[0] < 0.15 <= took[3]

    wait_until(first_and_last, "one request after the other")


def test_overlapping_faults_end_independently(subject: Subject) -> None:
    slow = subject.add("latency", attributes={"latency_ms": 80}, scope={"route": "/plain"})
    subject.add("abort", scope={"route": "/plain"})
    reply = subject.ask("GET", "/plain")
    assert (reply.status, reply.seconds >= 0.08) == (503, True)
    subject.lab("DELETE", f"faults/{slow['fault_id']}")

    def without_delay() -> bool:
        reply = subject.ask("GET", "/plain")
        assert reply.status == 503
        return reply.seconds < 0.08

    wait_until(without_delay, "a request without the delay")
    assert [each["kind"] for each in subject.armed()] == ["abort"]


def test_a_fault_ends_at_its_ttl_under_load(subject: Subject) -> None:
    fault = subject.add("abort", ttl_s=0.3)
    wait_until(lambda: subject.ask("GET", "/plain").status == 200, "the TTL to end it")
    row = subject.fault(fault["fault_id"])
    assert row["commanded_s"] + 0.3 <= row["removed_s"] + 0.01
    phases = [
        each["phase"] for each in subject.lines("fault") if each["fault_id"] == fault["fault_id"]
    ]
    assert phases == ["commanded", "effective", "removed"]


def test_the_lab_routes_require_the_token(subject: Subject) -> None:
    url = subject.url + "/_lab/faults"
    spec = {"kind": "abort", "ttl_s": 5}
    assert exchange("POST", url, body=spec).status == 401
    assert exchange("POST", url, body=spec, token="guess").status == 401
    assert subject.armed() == []


@pytest.mark.parametrize(
    ("kind", "spec", "expected"),
    [
        ("latancy", {}, "did you mean 'latency'?"),
        ("latency", {"attributes": {"latency": 5}}, "did you mean 'latency_ms'?"),
        (
            "latency",
            {"attributes": {"latency_ms": 5}, "point": "inbond"},
            "did you mean 'inbound'?",
        ),
        ("noop", {"scope": {"rout": "/"}}, "did you mean 'route'?"),
        ("noop", {"scope": {"callee": "x"}, "point": "database"}, "has no meaning at database"),
        ("noop", {"scope": {"first_n": 1.5}}, "whole number"),
        ("abort", {"point": "database"}, "only at: inbound, outbound"),
        ("abort", {"attributes": {"status": 503.5}}, "whole number"),
        ("corrupt", {"attributes": {"flips": 0}}, "1 or more"),
        ("drop_header", {"attributes": {"name": "a b"}, "point": "outbound"}, "header's name"),
        ("gray_failure", {}, "above 0"),
        ("skew", {"scope": {"share": 0.5}, "attributes": {"offset_ms": 1}}, "has no meaning"),
    ],
)
def test_bad_input_is_refused_by_name_and_changes_nothing(
    subject: Subject, kind: str, spec: dict[str, object], expected: str
) -> None:
    assert expected in subject.refuse(kind, **spec)


async def test_no_exchange_is_matched_without_an_armed_fault() -> None:
    injector = Injector()
    assert injector.active == []
    await injector.add({"kind": "skew", "attributes": {"offset_ms": 1}, "ttl_s": 5})
    assert injector.active == []  # a standing fault is none of an exchange's business
    await injector.close()
    assert injector.host.clock.skew_s == 0
