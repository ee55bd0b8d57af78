"""The open loop in its real process (Locust) against a small shop over real HTTP."""

import asyncio
import json
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from lab.load.profiles import load_profiles
from lab.load.schedule import make_schedule
from lab.topology import PROJECT
from tests.fixtures.waiting import wait_until_async
from tests.lab.load.stub_shop import StubShop

pytestmark = pytest.mark.slow

ROOT = PROJECT

PROFILES = """
[few]
sessions = 3
timeout_s = 1
rate_per_s = { product = 20, order = 10, track = 3, cancel = 1 }

[checks]
sessions = 3
timeout_s = 1
rate_per_s = { order = 20, reuse_key = 10, read_foreign = 10, wrong_password = 10 }

[orders]
sessions = 2
timeout_s = 0.5
rate_per_s = { order = 10 }
"""


@pytest.fixture
def profiles(tmp_path: Path) -> Path:
    path = tmp_path / "profiles.toml"
    path.write_text(PROFILES)
    return path


async def start_load(
    url: str, run_dir: Path, profiles: Path, profile: str, **more: object
) -> asyncio.subprocess.Process:
    options = {
        "load-profile": profile,
        "load-profiles": profiles,
        "run-dir": run_dir,
        "seed": 7,
        **more,
    }
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "locust", "-f", ROOT / "loadtests/open_loop.py", "--headless"),
        *("--host", url, "--only-summary", "--exit-code-on-error", "0"),
        *(part for name, value in options.items() for part in (f"--{name}", str(value))),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def run_load(
    url: str, run_dir: Path, profiles: Path, profile: str, **more: object
) -> dict[str, Any]:
    process = await start_load(url, run_dir, profiles, profile, **more)
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    status: dict[str, Any] = json.loads((run_dir / "load.json").read_text())
    return status


async def test_every_planned_arrival_becomes_a_row_at_its_intended_time(
    stub_shop: StubShop,
    tmp_path: Path,
    profiles: Path,
    rows_of: Callable[..., list[dict[str, Any]]],
) -> None:
    run_dir = tmp_path / "run"
    status = await run_load(stub_shop.url, run_dir, profiles, "few", duration=2)

    schedule = make_schedule(load_profiles(profiles)["few"], 7, 2)
    assert status["schedule_hash"] == schedule.hash
    assert status["planned"] == status["sent"] == len(schedule.arrivals)
    assert status["dropped"] == 0
    rows = [row for row in rows_of(run_dir / "requests.ndjson") if "login" not in row["route"]]
    intended = sorted(row["intended_start_s"] - status["started_s"] for row in rows)
    assert intended == pytest.approx([arrival.at_s for arrival in schedule.arrivals], abs=1e-4)
    assert all(row["actual_start_s"] >= row["intended_start_s"] for row in rows)
    assert {row["outcome"] for row in rows} == {"ok"}
    assert {row["request_id"] for row in rows} == {"a" * 32}
    assert len(stub_shop.logins) == len(set(stub_shop.logins)) == 3
    orders = [row for row in rows if row["route"] == "POST /api/orders"]
    assert orders
    assert all(row["order_id"] and row["idempotency_key"] for row in orders)
    history = Counter((row["f"], row["type"]) for row in rows_of(run_dir / "history.ndjson"))
    assert history["place", "invoke"] == history["place", "ok"] == len(orders)


async def test_an_unknown_outcome_is_repeated_with_the_same_key(
    stub_shop: StubShop,
    tmp_path: Path,
    profiles: Path,
    rows_of: Callable[..., list[dict[str, Any]]],
) -> Any:
    first_seen: set[str] = set()

    async def lose_each_first_answer(request: web.Request) -> web.StreamResponse | None:
        key = request.headers.get("Idempotency-Key")
        if key and key not in first_seen:
            first_seen.add(key)
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        return None

    stub_shop.spoil = lose_each_first_answer
    run_dir = tmp_path / "run"
    await run_load(stub_shop.url, run_dir, profiles, "orders", duration=1)

    rows = [row for row in rows_of(run_dir / "requests.ndjson") if row["idempotency_key"]]
    by_key: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_key.setdefault(row["idempotency_key"], []).append(row)
    assert by_key
    for attempts in by_key.values():
        assert [row["attempt_no"] for row in attempts] == [1, 2]
        assert [row["outcome"] for row in attempts] == ["unknown", "ok"]
        assert len({row["logical_id"] for row in attempts}) == 1
        assert attempts[1]["intended_start_s"] >= attempts[0]["end_s"]
    assert Counter(stub_shop.keys) == {key: 2 for key in by_key}
    history = rows_of(run_dir / "history.ndjson")
    assert Counter(row["type"] for row in history) == {"invoke": len(by_key), "ok": len(by_key)}


async def test_a_slow_shop_shows_in_times_from_the_intended_start_and_ends_as_info(
    stub_shop: StubShop,
    tmp_path: Path,
    profiles: Path,
    rows_of: Callable[..., list[dict[str, Any]]],
) -> Any:
    async def never(request: web.Request) -> web.StreamResponse | None:
        if request.path == "/api/orders":
            await asyncio.sleep(1)  # longer than the shopper waits
        return None

    stub_shop.spoil = never
    run_dir = tmp_path / "run"
    await run_load(stub_shop.url, run_dir, profiles, "orders", duration=0.6)

    rows = [row for row in rows_of(run_dir / "requests.ndjson") if row["idempotency_key"]]
    assert rows
    assert {(row["status"], row["outcome"]) for row in rows} == {(0, "unknown")}
    assert all(row["end_s"] - row["intended_start_s"] >= 0.5 for row in rows)
    assert {row["attempt_no"] for row in rows} == {1, 2, 3}
    history = rows_of(run_dir / "history.ndjson")
    assert {row["type"] for row in history} == {"invoke", "info"}


async def test_sigusr1_ends_the_arrivals_early_and_loses_no_answer(
    stub_shop: StubShop,
    tmp_path: Path,
    profiles: Path,
    rows_of: Callable[..., list[dict[str, Any]]],
) -> None:
    run_dir = tmp_path / "run"
    process = await start_load(stub_shop.url, run_dir, profiles, "few", duration=300)
    await wait_until_async(
        lambda: len(stub_shop.keys) >= 5 or process.returncode is not None, "five orders", 30
    )
    assert process.returncode is None, (await process.communicate())[0].decode()
    process.send_signal(signal.SIGUSR1)
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    status = json.loads((run_dir / "load.json").read_text())
    assert status["planned"] == status["sent"] < 300 * 34
    orders = [
        row for row in rows_of(run_dir / "requests.ndjson") if row["route"] == "POST /api/orders"
    ]
    assert len(orders) == len(stub_shop.keys)


async def test_a_failed_log_in_is_reported_and_exits_with_1(
    stub_shop: StubShop, tmp_path: Path, profiles: Path
) -> Any:
    async def refuse(request: web.Request) -> web.StreamResponse | None:
        return web.json_response({"type": "urn:x:bad-credentials"}, status=401)

    stub_shop.spoil = refuse
    process = await start_load(stub_shop.url, tmp_path / "run", profiles, "few", duration=1)
    output, _ = await process.communicate()
    assert process.returncode == 1
    assert b"bad-credentials" in output
    assert "bad-credentials" in json.loads((tmp_path / "run/load.json").read_text())["error"]


async def test_an_unknown_profile_is_refused_with_the_nearest_one(
    stub_shop: StubShop, tmp_path: Path, profiles: Path
) -> None:
    process = await start_load(stub_shop.url, tmp_path / "run", profiles, "fewer", duration=1)
    output, _ = await process.communicate()
    assert process.returncode != 0
    assert b"Did you mean few?" in output
    assert not (tmp_path / "run").exists()


async def test_a_refusal_that_the_shopper_provoked_is_no_error(
    stub_shop: StubShop,
    tmp_path: Path,
    profiles: Path,
    rows_of: Callable[..., list[dict[str, Any]]],
) -> None:
    keys: set[str] = set()

    async def refuse(request: web.Request) -> web.StreamResponse | None:
        if request.path == "/api/login" and (await request.json())["password"].startswith("in"):
            return web.json_response({"title": "Bad credentials"}, status=401)
        if request.path == "/api/orders" and request.method == "POST":
            key = request.headers["Idempotency-Key"]
            if key in keys:
                return web.json_response({"title": "Key reused"}, status=422)
            keys.add(key)
        if request.method == "GET" and request.path.startswith("/api/orders/"):
            return web.json_response({"title": "Order not found"}, status=404)
        return None

    stub_shop.spoil = refuse
    run_dir = tmp_path / "run"
    await run_load(stub_shop.url, run_dir, profiles, "checks", duration=1.5)

    rows = rows_of(run_dir / "requests.ndjson")
    refused = {row["route"]: row["status"] for row in rows if row["expected"]}
    assert refused == {
        "POST /api/orders (key reused)": 422,
        "GET /api/orders/{id} (foreign)": 404,
        "POST /api/login (wrong password)": 401,
    }
    assert {row["outcome"] for row in rows} == {"ok"}
    assert "horse" not in (run_dir / "requests.ndjson").read_text()
