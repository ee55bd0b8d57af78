"""The page of the API in a real browser: its forms send requests, and a log-in fills in the token."""

from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.browser import Evaluate, opened
from tests.fixtures.running import Running
from tests.fixtures.waiting import wait_until_async

pytestmark = pytest.mark.slow


async def sent(evaluate: Evaluate, method: str, path: str) -> str:
    """Send the form of this operation: what the page shows then."""
    form = f"document.querySelector('form[data-method={method}][data-path=\"{path}\"]')"
    await evaluate(f"{form}.querySelector('button:not([type])').click()")

    async def answer() -> Any:
        text = await evaluate(f"{form}.querySelector('output').textContent")
        return text != "waiting" and text

    return str(await wait_until_async(answer, f"an answer to {method} {path}"))


async def test_each_kind_of_operation_can_be_tried(running: Running, tmp_path: Path) -> None:
    await running("users")
    await running("products")
    gateway = await running("gateway")
    async with opened(gateway.url + "/api/docs", tmp_path / "profile") as evaluate:
        assert (await sent(evaluate, "GET", "/api/me")).startswith("401")
        assert (await sent(evaluate, "POST", "/api/users")).startswith("201")
        assert (await sent(evaluate, "POST", "/api/users")).startswith("201"), "the same key"
        await evaluate("document.querySelector('button[data-new-key]').click()")
        assert (await sent(evaluate, "POST", "/api/users")).startswith("409"), "a new key"
        assert (await sent(evaluate, "POST", "/api/login")).startswith("200")
        me = await sent(evaluate, "GET", "/api/me")
        assert me.startswith("200")
        assert "user001@example.com" in me
        assert (await sent(evaluate, "POST", "/api/refresh")).startswith("200")
        assert "SKU-0001" in await sent(evaluate, "GET", "/api/products/{product_id}")
        await evaluate("document.querySelector('input[name=limit]').value = '0'")
        assert (await sent(evaluate, "GET", "/api/products")).startswith("422")
        assert (await sent(evaluate, "POST", "/api/orders")).startswith("503"), "orders is not up"
