"""Faults at the chassis' boundary: their effect measured from outside, and their end at the TTL."""

import time
from typing import Any

import pytest

from tests.chassis.echo import Echo
from tests.fixtures.waiting import wait_until_async


async def _add(echo: Echo, **spec: Any) -> dict[str, Any]:
    spec = {"ttl_s": 30} | spec
    status, body, _ = await echo.call("POST", "/_lab/faults", json=spec, headers=echo.lab)
    assert status == 201, body
    return body  # type: ignore[no-any-return]


async def _seconds(echo: Echo, **headers: str) -> float:
    started = time.perf_counter()
    status, _, _ = await echo.call("GET", "/echo", headers=headers)
    assert status == 200
    return time.perf_counter() - started


async def test_latency_delays_only_its_scope(echo: Echo) -> None:
    await _add(echo, kind="latency", attributes={"latency_ms": 150}, scope={"caller": "orders"})
    assert await _seconds(echo, **{"Breakwater-Caller": "orders"}) >= 0.150

    async def is_not_delayed() -> bool:
        return await _seconds(echo, **{"Breakwater-Caller": "gateway"}) < 0.150

    await wait_until_async(is_not_delayed, "another caller without the latency")


async def test_abort_before_prevents_the_effect_and_abort_after_loses_the_reply(echo: Echo) -> None:
    post = {"json": {"text": "a"}, "headers": {"Idempotency-Key": "k1"}}
    await _add(echo, kind="abort", attributes={"status": 503}, scope={"first_n": 1})
    assert (await echo.call("POST", "/notes", **post))[0] == 503
    assert echo.service.state.effects == []
    await _add(
        echo, kind="abort", attributes={"status": 502, "when": "after"}, scope={"first_n": 1}
    )
    assert (await echo.call("POST", "/notes", **post))[0] == 502
    assert echo.service.state.effects == ["a"]
    status, _, headers = await echo.call("POST", "/notes", **post)
    assert (status, headers["Idempotency-Replayed"]) == (201, "true")


async def test_every_kth_and_share_hit_the_configured_number_of_requests(echo: Echo) -> None:
    fault = await _add(echo, kind="abort", scope={"every_k": 3})
    statuses = [(await echo.call("GET", "/echo"))[0] for _ in range(9)]
    assert statuses == [200, 200, 503] * 3
    await echo.call("DELETE", f"/_lab/faults/{fault['fault_id']}", headers=echo.lab)
    seed = 7
    await _add(echo, kind="abort", scope={"share": 0.3}, seed=seed)
    statuses = [(await echo.call("GET", "/echo"))[0] for _ in range(200)]
    hits = statuses.count(503)
    # 99.9% binomial interval of 200 x .3
    assert 39 <= hits <= 82, f"seed {seed}"


async def test_a_fault_ends_at_its_ttl(echo: Echo) -> None:
    await _add(echo, fault_id="short", kind="abort", ttl_s=0.2)
    assert (await echo.call("GET", "/echo"))[0] == 503

    async def is_over() -> bool:
        return (await echo.call("GET", "/echo"))[0] == 200

    await wait_until_async(is_over, "the TTL to end it")
    _, history, _ = await echo.call("GET", "/_lab/faults/history", headers=echo.lab)
    (row,) = (item for item in history["items"] if item["fault_id"] == "short")
    assert row["commanded_s"] <= row["effective_s"] <= row["removed_s"]
    assert row["removed_s"] - row["commanded_s"] >= 0.19
    assert row["hits"] >= 1


async def test_clearing_removes_all_and_returns_their_number(echo: Echo) -> None:
    await _add(echo, kind="noop")
    await _add(echo, kind="abort")
    assert (await echo.call("DELETE", "/_lab/faults", headers=echo.lab))[1] == {"removed": 2}
    assert (await echo.call("GET", "/_lab/faults", headers=echo.lab))[1] == {"items": []}
    assert (await echo.call("GET", "/echo"))[0] == 200


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"kind": "nope", "ttl_s": 1}, "unknown fault 'nope'"),
        ({"kind": "latency", "ttl_s": 1}, "'latency_ms' is required"),
        ({"kind": "latency", "attributes": {"latency_ms": -1}, "ttl_s": 1}, "0 or more"),
        ({"kind": "latency", "attributes": {"latency_ms": "2"}, "ttl_s": 1}, "expected a number"),
        ({"kind": "latency", "attributes": {"latency": 2}, "ttl_s": 1}, "unknown attribute"),
        ({"kind": "abort", "attributes": {"status": 200}, "ttl_s": 1}, "400 to 599"),
        ({"kind": "noop"}, "ttl_s"),
        ({"kind": "noop", "ttl_s": 0}, "ttl_s"),
        ({"kind": "noop", "ttl_s": 1, "scope": {"where": "x"}}, "unknown key 'where'"),
        ({"kind": "noop", "ttl_s": 1, "scope": {"share": 2}}, "0 to 1"),
        ({"kind": "noop", "ttl_s": 1, "point": "sideways"}, "point"),
        ({"kind": "noop", "ttl_s": 1, "extra": 1}, "unknown field 'extra'"),
        ({"kind": "crash", "ttl_s": 1, "point": "failpoint"}, "scope.failpoint"),
    ],
)
async def test_an_impossible_fault_is_refused_with_the_expected_values(
    echo: Echo, spec: dict[str, Any], expected: str
) -> None:
    status, body, _ = await echo.call("POST", "/_lab/faults", json=spec, headers=echo.lab)
    assert status == 400
    assert expected in body["detail"]
    assert (await echo.call("GET", "/_lab/faults", headers=echo.lab))[1] == {"items": []}
