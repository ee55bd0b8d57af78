"""Forwards spans to Jaeger unchanged, in the background, with a bounded queue."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import aiohttp

PENDING_BYTES_MAX = 8 * 1024 * 1024
TIMEOUT_S = 2.0
HEADERS = ("content-type", "content-encoding")

Item = tuple[bytes, dict[str, str]]


class SpanForwarder:
    """`offer` never waits and never fails: what Jaeger does not accept in time is shed and counted.

    A body is one batch of an exporter. It is not unpacked, so the counts are of bodies, not of spans.
    """

    def __init__(
        self,
        target: Callable[[], str],
        *,
        pending_bytes_max: int = PENDING_BYTES_MAX,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """`target` is called for each body: it returns an OTLP/HTTP address, or "" to drop the body."""
        self.sent = 0
        self.shed = 0
        self._target = target
        self._pending: deque[Item] = deque()
        self._pending_bytes = 0
        self._pending_bytes_max = pending_bytes_max
        self._timeout_s = timeout_s
        self._sending: asyncio.Task[None] | None = None
        self._session: aiohttp.ClientSession | None = None

    def offer(self, body: bytes, headers: dict[str, str]) -> None:
        """Queues one OTLP body with its content-type and content-encoding."""
        if not self._target():
            return
        if self._pending_bytes + len(body) > self._pending_bytes_max:
            self.shed += 1
            return
        self._pending.append((body, headers))
        self._pending_bytes += len(body)
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send_all())

    def counts(self) -> dict[str, int]:
        return {"sent": self.sent, "shed": self.shed, "pending": len(self._pending)}

    async def close(self) -> None:
        """Stops at once; bodies in the queue are shed."""
        if self._sending is not None:
            self._sending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sending
        self.shed += len(self._pending)
        self._pending.clear()
        if self._session is not None:
            await self._session.close()

    async def _send_all(self) -> None:
        if self._session is None:
            import aiohttp  # costs 15 MB, which a recorder without Jaeger saves

            timeout = aiohttp.ClientTimeout(total=self._timeout_s)
            self._session = aiohttp.ClientSession(timeout=timeout)
        while self._pending:
            body, headers = self._pending.popleft()
            self._pending_bytes -= len(body)
            if await self._send(self._session, body, headers):
                self.sent += 1
            else:
                self.shed += 1  # newer spans are more useful than a retry

    async def _send(
        self, session: aiohttp.ClientSession, body: bytes, headers: dict[str, str]
    ) -> bool:
        import aiohttp

        try:
            url = f"{self._target()}/v1/traces"
            async with session.post(url, data=body, headers=headers) as answer:
                await answer.read()
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return False
