"""The shoppers of Locust's page, in a real Locust against a small shop: every request is kept, and counted."""

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.load.profiles import PAGE
from lab.topology import PROJECT
from tests.fixtures.waiting import wait_until_async
from tests.lab.load.stub_shop import StubShop

pytestmark = pytest.mark.slow


async def test_every_request_is_kept_and_counted_until_the_page_is_stopped(
    stub_shop: StubShop, tmp_path: Path, rows_of: Callable[..., list[dict[str, Any]]]
) -> None:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "locust", "-f", PROJECT / "loadtests/shop.py", "--headless"),
        *("--host", stub_shop.url, "--run-dir", run_dir, "--seed", "7", "--users", "3"),
        *("--spawn-rate", "3", "--stop-timeout", "30"),
        *("--exit-code-on-error", "0"),
        cwd=PROJECT,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    await wait_until_async(lambda: len(stub_shop.keys) >= 2, "two orders", 60)
    assert "ended_s" not in json.loads((run_dir / "load.json").read_text())
    process.terminate()
    assert await process.wait() == 0

    status = json.loads((run_dir / "load.json").read_text())
    rows = rows_of(run_dir / "requests.ndjson")
    assert (status["profile"], status["seed"]) == (PAGE, 7)
    assert status["sent"] == status["attempts"] == status["rows"]["requests"] == len(rows)
    assert status["rows"]["history"] == len(rows_of(run_dir / "history.ndjson"))
    assert status["shoppers"] == 3
    assert {line["type"] for line in rows_of(run_dir / "history.ndjson")} == {"invoke", "ok"}
    assert [row["seq"] for row in rows] == list(range(len(rows)))
    assert status["started_s"] < status["ended_s"]
