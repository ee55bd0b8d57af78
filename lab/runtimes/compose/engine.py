"""The parts of the container engine's API that the lab uses."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

PROJECT_LABEL = "com.docker.compose.project"
SERVICE_LABEL = "com.docker.compose.service"
ANSWER_S = 30.0
HEALTHY = {"Status": "healthy"}
HEADER_BYTES = 8  # before each frame of a log: the stream, three zeros, the frame's length


class EngineRefusedError(Exception):
    """The engine refused a request; the message has its reason."""


class Engine:
    """One engine at `endpoint` (`unix:///...`, `tcp://host:port`). Requires a running event loop.

    Requests name no API version: every engine uses its newest. The parts used here are the same since 20.10.
    """

    def __init__(self, endpoint: str) -> None:
        scheme, _, where = endpoint.partition("://")
        unix = scheme == "unix"
        self._base = "http://engine" if unix else f"http://{where}"
        connector = aiohttp.UnixConnector(where, limit=0) if unix else aiohttp.TCPConnector(limit=0)
        self._session = aiohttp.ClientSession(connector=connector)

    async def close(self) -> None:
        await self._session.close()

    async def containers(self, project: str) -> list[dict[str, Any]]:
        """All containers of a compose project, running or not."""
        filters = json.dumps({"label": [f"{PROJECT_LABEL}={project}"]})
        found: list[dict[str, Any]] = await self._call(
            "GET", "/containers/json", params={"all": "1", "filters": filters}
        )
        return found

    async def inspect(self, container: str) -> dict[str, Any]:
        found: dict[str, Any] = await self._call("GET", f"/containers/{container}/json")
        return found

    async def healthy(self, container: str) -> bool:
        """Whether it runs and its health check, if it has one, succeeds."""
        try:
            state = (await self.inspect(container))["State"]
        except EngineRefusedError:
            return False
        return bool(state["Running"]) and state.get("Health", HEALTHY)["Status"] == "healthy"

    async def start(self, container: str) -> None:
        await self._call("POST", f"/containers/{container}/start")

    async def stop(self, container: str, timeout_s: float) -> None:
        await self._call(
            "POST", f"/containers/{container}/stop", params={"t": str(round(timeout_s))}
        )

    async def kill(self, container: str, signal: str) -> None:
        """Signal its PID 1. The engine does not apply the restart policy after this."""
        await self._call("POST", f"/containers/{container}/kill", params={"signal": signal})

    async def pause(self, container: str) -> None:
        await self._call("POST", f"/containers/{container}/pause")

    async def unpause(self, container: str) -> None:
        await self._call("POST", f"/containers/{container}/unpause")

    async def execute(self, container: str, argv: list[str]) -> int | None:
        """Run a command inside: its exit code, or None if the container ended."""
        made = await self._call("POST", f"/containers/{container}/exec", body={"Cmd": argv})
        await self._call("POST", f"/exec/{made['Id']}/start", body={"Detach": True})
        try:
            while (state := await self._call("GET", f"/exec/{made['Id']}/json"))["Running"]:
                await asyncio.sleep(0.02)
        except EngineRefusedError:
            return None
        code: int | None = state["ExitCode"]
        return code

    async def disconnect(self, container: str, network: str) -> None:
        await self._call("POST", f"/networks/{network}/disconnect", body={"Container": container})

    async def connect(self, container: str, network: str, aliases: list[str]) -> None:
        """Connect it under these names; its address may change."""
        body = {"Container": container, "EndpointConfig": {"Aliases": aliases}}
        await self._call("POST", f"/networks/{network}/connect", body=body)

    async def update(self, container: str, limits: dict[str, int]) -> None:
        """Change the limits of a container, running or not; they stay after restarts."""
        await self._call("POST", f"/containers/{container}/update", body=limits)

    async def throttled(self, container: str) -> int:
        """The number of scheduler periods since its start in which it used up its CPU quota."""
        stats = await self._stats(container)
        throttling = stats.get("cpu_stats", {}).get("throttling_data", {})
        return int(throttling.get("throttled_periods", 0))

    async def memory_bytes(self, container: str) -> int:
        """The memory in use, without the page cache that the kernel can drop."""
        stats = await self._stats(container)
        memory = stats.get("memory_stats", {})
        details = memory.get("stats", {})
        cache = details.get("total_inactive_file", details.get("inactive_file", 0))
        return int(memory.get("usage", 0) - cache)

    async def _stats(self, container: str) -> dict[str, Any]:
        options = {"stream": "false", "one-shot": "true"}
        found: dict[str, Any] = await self._call(
            "GET", f"/containers/{container}/stats", params=options
        )
        return found

    async def events(self, project: str) -> AsyncIterator[dict[str, Any]]:
        """The events of the project's containers, from now until the engine closes the connection."""
        filters = json.dumps({"type": ["container"], "label": [f"{PROJECT_LABEL}={project}"]})
        async with self._stream("/events", {"filters": filters}) as answer:
            async for line in answer.content:
                yield json.loads(line)

    async def logs(self, container: str, since_s: float) -> AsyncIterator[bytes]:
        """Its output on both streams since then, live, until it ends."""
        options = {"follow": "1", "stdout": "1", "stderr": "1", "since": f"{since_s:.9f}"}
        async with self._stream(f"/containers/{container}/logs", options) as answer:
            rest = b""
            async for chunk in answer.content.iter_any():
                text, rest = unframed(rest + chunk)
                if text:
                    yield text

    def _stream(self, path: str, params: dict[str, str]) -> Any:
        forever = aiohttp.ClientTimeout(total=None, sock_connect=ANSWER_S)
        return self._session.get(self._base + path, params=params, timeout=forever)

    async def _call(
        self, method: str, path: str, *, params: dict[str, str] | None = None, body: Any = None
    ) -> Any:
        """The JSON answer. Raises EngineRefusedError."""
        try:
            async with self._session.request(
                method,
                self._base + path,
                params=params,
                json=body,
                timeout=aiohttp.ClientTimeout(total=ANSWER_S),
            ) as answer:
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise EngineRefusedError(f"the engine does not answer: {error}") from None
        content = json.loads(text) if text.startswith(("{", "[")) else None
        if answer.status >= 400:
            reason = content.get("message") if isinstance(content, dict) else text.strip()
            raise EngineRefusedError(f"{method} {path}: {answer.status} {reason}")
        return content


def unframed(stream: bytes) -> tuple[bytes, bytes]:
    """(the text of the complete frames of a log stream, the incomplete frame at its end)."""
    pieces, at = [], 0
    while at + HEADER_BYTES <= len(stream):
        begin = at + HEADER_BYTES
        end = begin + int.from_bytes(stream[begin - 4 : begin], "big")
        if end > len(stream):
            break
        pieces.append(stream[begin:end])
        at = end
    return b"".join(pieces), stream[at:]
