"""A call to another service as its caller sees it: what a damaged answer, a dead instance, a hedge become."""

from typing import Any

import pytest
from prometheus_client import REGISTRY

from chassis.client import ServiceClient
from chassis.resilience.breaker import Breaker
from chassis.resilience.errors import CallError
from tests.chassis.conftest import Echo

CORRUPT = {"kind": "corrupt", "attributes": {"flips": 200}}
BENT = [
    {**CORRUPT, "point": "outbound"},
    {**CORRUPT, "point": "inbound"},
    {"kind": "truncate", "attributes": {"keep_bytes": 9}, "point": "inbound"},
]


def the_client(echo: Echo) -> ServiceClient:
    client = echo.service.clients["echo"]
    client.protection.use("breaker")
    client.protection.switch("retry", False)
    return client


def the_breaker(client: ServiceClient) -> Breaker:
    breaker = client.protection.breaker
    assert breaker is not None
    return breaker


@pytest.mark.parametrize("fault", BENT, ids=str)
async def test_a_damaged_answer_is_an_indefinite_failure_that_the_breaker_counts(
    echo: Echo, fault: dict[str, Any]
) -> None:
    client = the_client(echo)
    await echo.service.injector.add({**fault, "scope": {"route": "/echo"}, "ttl_s": 30, "seed": 7})
    with pytest.raises(CallError) as caught:
        await client.get("/echo")
    assert (caught.value.definite, caught.value.retryable) == (False, True)
    live = the_breaker(client).snapshot()
    assert (live["n"], live["failures"]) == (1, 1)


async def test_an_error_answer_that_is_damaged_is_no_verdict_either(echo: Echo) -> None:
    client = the_client(echo)
    await echo.service.injector.add({**BENT[0], "ttl_s": 30, "seed": 7})
    with pytest.raises(CallError) as caught:
        await client.get("/nowhere")  # a 404, had it come through
    assert not caught.value.definite


async def test_what_is_not_json_passes_as_it_came(echo: Echo) -> None:
    answer = await the_client(echo).get("/metrics")
    assert answer.status == 200
    assert answer.content.startswith(b"#")


async def test_each_attempt_is_measured_by_what_became_of_it(echo: Echo) -> None:
    client = the_client(echo)
    await client.get("/health")
    labels = {
        "edge": "echo->echo", "http_request_method": "GET", "http_route": "/health",
        "http_response_status_code": "200", "error_type": "",
    }  # fmt: skip
    counted = REGISTRY.get_sample_value("http_client_request_duration_seconds_count", labels)
    assert counted
