"""Opens a page in a headless browser and evaluates JavaScript there, by the Chrome DevTools protocol."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.fixtures.waiting import wait_until_async

START_S = 60.0


class Page:
    """A page that is open in the browser."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._calls = 0

    async def show(self, width: int, *, dark: bool = False) -> None:
        """Give the window a width in CSS pixels, and a light or dark colour scheme."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": True}
        await self._call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self._call("Emulation.setEmulatedMedia", features=[scheme])

    async def go_to(self, file: Path) -> None:
        """Replace the document of the page by that of a file."""
        answer = await self._call("Page.navigate", url=file.as_uri())
        assert "errorText" not in answer, answer["errorText"]

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        answer = await self._call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._calls += 1
        await self._socket.send_json({"id": self._calls, "method": method, "params": parameters})
        async for message in self._socket:
            answer: dict[str, Any] = json.loads(message.data)
            if answer.get("id") == self._calls:
                assert "error" not in answer, answer["error"]
                result: dict[str, Any] = answer["result"]
                return result
        raise AssertionError(f"the browser closed before it answered {method}")


@asynccontextmanager
async def opened(browser: str, file: Path, profile: Path) -> AsyncIterator[Page]:
    """The file in a browser with a profile of its own."""
    command: Sequence[str] = (
        *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
        *("--disable-background-networking", "--remote-debugging-port=0"),
        *(f"--user-data-dir={profile}", "about:blank"),
    )
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*command, stdout=quiet, stderr=quiet)
    try:
        port_file = profile / "DevToolsActivePort"
        text = await wait_until_async(
            lambda: port_file.read_text() if port_file.is_file() else "",
            "the browser's port",
            START_S,
        )
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{text.split()[0]}/json") as reply:
                targets = await reply.json()
            url = next(each["webSocketDebuggerUrl"] for each in targets if each["type"] == "page")
            async with session.ws_connect(url, max_msg_size=0) as socket:
                page = Page(socket)
                # The answer comes when the file has replaced about:blank, which is complete too.
                await page.go_to(file)
                await wait_until_async(
                    lambda: page.evaluate("document.readyState === 'complete'"), "the page", START_S
                )
                yield page
    finally:
        process.terminate()
        await process.wait()
