"""The rendered nginx.conf: nginx starts the trace, fails over safe requests, and explains its own errors."""

import http.client
import json
import signal
import socket
from collections.abc import Iterator

import pytest

from lab.runtimes.logs import LogLine, read
from lab.runtimes.processes.runtime import ProcessesRuntime
from tests.fixtures.labs import get, who
from tests.fixtures.waiting import wait_until


def hang_ups(lab: ProcessesRuntime, method: str) -> int:
    lines = read(lab.home / "logs", "front", last=1000)
    return sum(line.message == f"hung up on {method}" for line in lines)


@pytest.fixture
def no_front(stub_lab: ProcessesRuntime) -> Iterator[None]:
    stub_lab.kill("front", restart=False)
    states = ("front-1", "front-2")
    wait_until(
        lambda: all(
            each["state"] == "stopped"
            for each in stub_lab.status(live=False)["processes"]
            if each["name"] in states
        ),
        "both stopped",
    )
    yield
    stub_lab.up()


def test_the_trace_starts_at_nginx_whatever_a_client_sends(stub_lab: ProcessesRuntime) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", stub_lab.port_base)
    claimed = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"
    connection.request("GET", "/api/who", headers={"traceparent": claimed})
    answer = connection.getresponse()
    trace_id = answer.headers["X-Request-Id"]
    assert trace_id != "1" * 32
    assert json.load(answer)["traceparent"] == f"00-{trace_id}-{trace_id[:16]}-01"
    connection.close()

    def logged() -> list[LogLine]:
        lines = read(stub_lab.home / "logs", "nginx", last=1000)
        return [line for line in lines if line.fields.get("trace_id") == trace_id]

    (line,) = wait_until(logged, "its access log line")
    assert (line.fields["status"], line.fields["path"]) == (200, "/api/who")


def test_requests_are_spread_over_the_instances(stub_lab: ProcessesRuntime) -> None:
    assert {who(stub_lab)["instance"] for _ in range(6)} == {"front-1", "front-2"}


def test_a_failed_get_is_retried_at_another_instance_but_a_post_is_never_sent_twice(
    stub_lab: ProcessesRuntime,
) -> None:
    url = stub_lab.address("ingress") + "/api/hang-up"
    posts, gets = hang_ups(stub_lab, "POST"), hang_ups(stub_lab, "GET")
    assert get(url, "POST")[0] == 502
    assert hang_ups(stub_lab, "POST") == posts + 1
    assert get(url)[0] == 502
    assert hang_ups(stub_lab, "GET") == gets + 2


def test_a_killed_gateway_costs_no_request(stub_lab: ProcessesRuntime) -> None:
    stub_lab.kill("front-1")
    assert [get(stub_lab.address("ingress") + "/api/who")[0] for _ in range(20)] == [200] * 20
    wait_until(lambda: stub_lab.status()["ready"], "front-1 back")


@pytest.mark.usefixtures("no_front")
def test_without_a_gateway_the_answer_is_a_problem_that_can_be_traced(
    stub_lab: ProcessesRuntime,
) -> None:
    status, headers, body = get(stub_lab.address("ingress") + "/api/who")
    problem = json.loads(body)
    assert status == problem["status"] == 502
    assert headers["content-type"] == "application/problem+json"
    assert headers["retry-after"] == "1"
    assert headers["x-request-id"] == problem["trace_id"]


@pytest.mark.parametrize("path", ["/", "/metrics", "/_lab/faults", "/ready", '/odd"path'])
def test_only_the_api_is_public(stub_lab: ProcessesRuntime, path: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", stub_lab.port_base)
    connection.putrequest("GET", path)
    connection.endheaders()
    answer = connection.getresponse()
    if path == "/":
        assert (answer.status, answer.headers["Location"][-9:]) == (302, "/api/docs")
    else:
        assert json.load(answer)["status"] == answer.status == 404
    connection.close()


def test_a_body_over_64_kib_is_refused_as_a_problem(stub_lab: ProcessesRuntime) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", stub_lab.port_base)
    connection.request("POST", "/api/who", body=b"x" * (64 * 1024 + 1))
    answer = connection.getresponse()
    assert answer.status == 413
    assert json.load(answer)["type"] == "urn:breakwater:problem:body-too-large"
    connection.close()


def test_nginx_reads_its_configuration_again_without_a_new_process(
    stub_lab: ProcessesRuntime,
) -> None:
    before = next(e.pid for e in stub_lab.lab.servers if e.name == "nginx")
    stub_lab.kill("nginx", signal.SIGHUP.name)
    assert who(stub_lab)["instance"].startswith("front-")
    assert next(e.pid for e in stub_lab.lab.servers if e.name == "nginx") == before


HOST = b"Host: shop\r\n"


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (b"GARBAGE\r\n\r\n", 400),
        (b"GET /api/%zz HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET /api/\xc3\xa9 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET /api/two words HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET /api/who HTTP/1.1\r\n\r\n", 400),
        (b"TRACE /api/who HTTP/1.1\r\n" + HOST + b"\r\n", 405),
        (b"GET /api/" + b"x" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
        (b"GET /api/who HTTP/1.1\r\n" + HOST + b"Cookie: " + b"x" * 9000 + b"\r\n\r\n", 431),
        (b"GET /api/who HTTP/1.1\r\n" + HOST + (b"C: " + b"x" * 6000 + b"\r\n") * 8 + b"\r\n", 431),
        (b"POST /api/who HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip\r\n\r\n", 501),
        (b"GET /api/who HTTP/3.0\r\n" + HOST + b"\r\n", 505),
    ],
    ids=lambda value: value[:24] if isinstance(value, bytes) else value,
)
def test_what_is_not_valid_http_is_refused_as_a_problem(
    stub_lab: ProcessesRuntime, message: bytes, status: int
) -> None:
    with socket.create_connection(("127.0.0.1", stub_lab.port_base)) as connection:
        connection.sendall(message)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        problem = json.load(answer)
    assert (answer.status, problem["status"]) == (status, status)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["X-Request-Id"] == problem["trace_id"]
    assert problem["instance"] in ("/api/who", "")
    assert (answer.headers["Allow"] is not None) == (status == 405)
