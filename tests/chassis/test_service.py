"""The functions of the chassis in every service, over real sockets and real stores."""

import asyncio
import re
import time

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm
from prometheus_client import REGISTRY

from chassis.http import idempotency
from tests.chassis.echo import Echo
from tests.fixtures.waiting import wait_until_async


def _trusted_key(echo: Echo) -> Ed25519PrivateKey:
    key = Ed25519PrivateKey.generate()
    jwk = OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
    echo.service.auth.users.trust({"keys": [{**jwk, "kid": "k1", "alg": "EdDSA", "use": "sig"}]})
    return key


async def test_it_has_health_readiness_and_metrics(echo: Echo) -> None:
    assert (await echo.call("GET", "/health"))[0] == 200
    assert (await echo.call("GET", "/ready"))[0] == 200
    await echo.call("GET", "/echo")
    _, metrics, _ = await echo.call("GET", "/metrics")
    expected = '_seconds_count{http_request_method="GET",http_response_status_code="200",http_route="/echo"}'
    assert expected in metrics.decode()


async def test_a_domain_error_is_a_problem_named_after_its_class(echo: Echo) -> None:
    status, body, headers = await echo.call("GET", "/teapot")
    assert status == 418
    assert headers["Content-Type"] == "application/problem+json"
    assert body["type"] == "urn:breakwater:problem:teapot-empty"
    assert (body["title"], body["detail"], body["cups"]) == ("Teapot empty", "nothing left", 0)
    assert len(body["trace_id"]) == 32


async def test_an_internal_error_reveals_no_details(echo: Echo) -> None:
    status, body, _ = await echo.call("GET", "/broken")
    assert status == 500
    assert "secret" not in str(body)


async def test_the_connection_of_an_internal_error_serves_the_next_request(echo: Echo) -> None:
    host, port = echo.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for path, status in (("/broken", b"500"), ("/echo", b"200")):
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert status in head.partition(b"\r\n")[0]
        length = re.search(rb"content-length: (\d+)", head.lower())
        assert length
        await reader.readexactly(int(length[1]))
    writer.close()


@pytest.mark.parametrize("text", ["\\u0000", "\\ud800"])
async def test_a_text_that_the_store_cannot_hold_is_the_requests_fault(
    echo: Echo, text: str
) -> None:
    body = f'{{"text": "{text}"}}'.encode()
    headers = {"Content-Type": "application/json", "Idempotency-Key": f"text-{text[-4:]}"}
    status, problem, _ = await echo.call("POST", "/notes", data=body, headers=headers)
    assert (status, problem["type"]) == (422, "urn:breakwater:problem:invalid-value")


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{not json", "application/json", 400),
        (b'{"text": 1}', "application/json", 422),
        (b'{"text": "a", "more": 1}', "application/json", 422),
        (b'"' + b"x" * 70_000 + b'"', "application/json", 413),
    ],
)
async def test_a_bad_body_is_refused(
    echo: Echo, body: bytes, content_type: str, status: int
) -> None:
    headers = {"Content-Type": content_type, "Idempotency-Key": "k"}
    answered, problem, answer_headers = await echo.call(
        "POST", "/notes", data=body, headers=headers
    )
    assert answered == status
    assert problem["status"] == status
    assert answer_headers["Content-Type"] == "application/problem+json"


async def test_a_chunked_body_is_limited_too(echo: Echo) -> None:
    async def chunks():  # type: ignore[no-untyped-def]
        for _ in range(20):
            yield b"x" * 8192

    headers = {"Content-Type": "application/json", "Idempotency-Key": "k"}
    status, problem, _ = await echo.call("POST", "/notes", data=chunks(), headers=headers)
    assert (status, problem["status"]) == (413, 413)


async def test_the_deadline_comes_with_the_request(echo: Echo) -> None:
    _, body, _ = await echo.call("GET", "/echo", headers={"Breakwater-Budget-Ms": "500"})
    assert 0 < body["deadline"] - time.monotonic() <= 0.5


@pytest.mark.parametrize("budget", ["", "soon", "nan", "inf", "1e99"])
async def test_a_malformed_budget_is_ignored(echo: Echo, budget: str) -> None:
    _, body, _ = await echo.call("GET", "/echo", headers={"Breakwater-Budget-Ms": budget})
    assert body["deadline"] is None


async def test_expired_work_is_dropped_before_it_starts(echo: Echo) -> None:
    status, body, _ = await echo.call("GET", "/echo", headers={"Breakwater-Budget-Ms": "0"})
    assert status == 504
    assert body["definite"] is True
    labels = {"edge": "any->echo", "policy": "deadline", "kind": "rejection", "reason": "expired"}
    assert REGISTRY.get_sample_value("resilience_events_total", labels)


async def test_a_user_needs_a_valid_token(echo: Echo) -> None:
    key = _trusted_key(echo)
    assert (await echo.call("GET", "/mine"))[0] == 401
    assert (await echo.call("GET", "/mine", headers={"Authorization": "Bearer x.y.z"}))[0] == 401
    good = echo.user_token(key)
    assert (await echo.call("GET", "/mine", headers=good))[1] == {"id": "u1"}
    assert (await echo.call("GET", "/mine", headers=echo.user_token(key, exp=1)))[0] == 401
    assert (await echo.call("GET", "/mine", headers=echo.user_token(key, aud="other")))[0] == 401
    forged = echo.user_token(Ed25519PrivateKey.generate())
    status, body, headers = await echo.call("GET", "/mine", headers=forged)
    assert (status, body["title"]) == (401, "Unauthenticated")
    assert "Bearer" in headers["WWW-Authenticate"]


async def test_tokens_of_users_and_services_are_not_interchangeable(echo: Echo) -> None:
    user, service = echo.user_token(_trusted_key(echo)), echo.service_token("orders")
    assert (await echo.call("GET", "/inside", headers=echo.service_token("users")))[0] == 403
    assert (await echo.call("GET", "/inside", headers=service))[1] == {"caller": "orders"}
    assert (await echo.call("GET", "/inside", headers=user))[0] == 403
    assert (await echo.call("GET", "/mine", headers=service))[0] == 403


async def test_one_key_has_one_effect_and_one_answer(echo: Echo) -> None:
    post = {"json": {"text": "a"}, "headers": {"Idempotency-Key": "same"}}
    answers = await asyncio.gather(*(echo.call("POST", "/notes", **post) for _ in range(8)))
    assert {status for status, _, _ in answers} == {201}
    assert {body["count"] for _, body, _ in answers} == {1}
    assert sum("Idempotency-Replayed" in headers for _, _, headers in answers) == 7
    other = {"json": {"text": "b"}, "headers": {"Idempotency-Key": "same"}}
    assert (await echo.call("POST", "/notes", **other))[0] == 422
    assert (await echo.call("POST", "/notes", json={"text": "a"}))[0] == 400


@pytest.mark.parametrize("echo", [{"idempotency": False}], indirect=True)
async def test_without_idempotency_one_key_has_many_effects(echo: Echo) -> None:
    post = {"json": {"text": "a"}, "headers": {"Idempotency-Key": "same"}}
    counts = [(await echo.call("POST", "/notes", **post))[1]["count"] for _ in range(3)]
    assert counts == [1, 2, 3]


async def test_a_service_finds_and_calls_itself_through_the_registry(echo: Echo) -> None:
    await wait_until_async(lambda: echo.service.instances("echo"), "its entry in the registry")
    response = await echo.service.client("echo").get("/echo", route="/echo")
    assert response.body["caller"] == "echo"


async def test_the_lab_routes_require_the_token(echo: Echo) -> None:
    assert (await echo.call("GET", "/_lab/faults"))[0] == 401
    wrong = {"Authorization": "Bearer wrong"}
    assert (await echo.call("POST", "/_lab/faults", json={}, headers=wrong))[0] == 401


@pytest.mark.parametrize("echo", [{"lab_token": ""}], indirect=True)
async def test_outside_a_lab_there_are_no_lab_routes(echo: Echo) -> None:
    assert (await echo.call("GET", "/_lab/faults", headers=echo.lab))[0] == 404
    _, body, _ = await echo.call("GET", "/echo", headers={"Breakwater-Lab": "resilience=none"})
    assert body["lab"] == ""


def test_the_digests_of_a_service_have_a_key(echo: Echo) -> None:
    assert len(idempotency.digest_key) == 32
