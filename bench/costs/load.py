"""The load of bench/cost.py: product pages and orders on a fixed schedule, sent from outside the lab."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from itertools import count

import aiohttp

from lab.load.accounts import PASSWORD, email_of

CUSTOMERS = 20
PRODUCTS = 1000
TIMEOUT_S = 20.0


class LoadFailedError(Exception):
    """The shop did not answer a request as it must: the window measured something else."""


class Load:
    """Sends requests to the shop at `url`: `log_in` first, `close` at the end."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._http = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
            connector=aiohttp.TCPConnector(limit=200),
        )
        self._tokens: list[str] = []
        self._numbers = count()
        self.late_s = 0.0  # how late a request was sent at most: the driver itself was too slow
        self.failed = 0
        self.last_failure = ""

    async def log_in(self) -> None:
        """Log the customers in. Raises LoadFailedError."""
        for number in range(1, CUSTOMERS + 1):
            body = {"email": email_of(number), "password": PASSWORD}
            async with self._http.post(f"{self._url}/api/login", json=body) as answer:
                self._tokens.append(str((await _checked(answer, 200))["access_token"]))

    async def close(self) -> None:
        await self._http.close()

    async def page(self) -> None:
        """One product page. Raises LoadFailedError."""
        url = f"{self._url}/api/products/{self._sku()}"
        async with self._http.get(url, headers=self._headers()) as answer:
            await _checked(answer, 200)

    async def order(self) -> None:
        """One order of one product. Raises LoadFailedError."""
        body = {
            "lines": [{"sku": self._sku(), "quantity": 1}],
            "payment": {"card_number": "4242424242424242"},
        }
        headers = self._headers() | {"Idempotency-Key": secrets.token_hex(16)}
        url = f"{self._url}/api/orders"
        async with self._http.post(url, json=body, headers=headers) as answer:
            await _checked(answer, 201)

    async def send(self, one: Callable[[], Awaitable[None]], rate: float, seconds: float) -> int:
        """`rate` requests a second, whether or not earlier ones have been answered: their number."""
        loop = asyncio.get_running_loop()
        began, total = loop.time(), int(rate * seconds)
        async with asyncio.TaskGroup() as group:
            for number in range(total):
                due = began + number / rate
                await asyncio.sleep(max(0.0, due - loop.time()))
                self.late_s = max(self.late_s, loop.time() - due)
                group.create_task(self._run(one))
        return total

    async def _run(self, one: Callable[[], Awaitable[None]]) -> None:
        try:
            await one()
        except (LoadFailedError, aiohttp.ClientError, TimeoutError) as error:
            self.failed += 1
            self.last_failure = f"{type(error).__name__}: {error}"

    def _sku(self) -> str:
        return f"SKU-{1 + next(self._numbers) * 7 % PRODUCTS:04d}"

    def _headers(self) -> dict[str, str]:
        token = self._tokens[next(self._numbers) % len(self._tokens)]
        return {"Authorization": f"Bearer {token}"}


async def _checked(answer: aiohttp.ClientResponse, status: int) -> dict[str, str]:
    if answer.status != status:
        text = (await answer.text())[:300]
        raise LoadFailedError(f"{answer.method} {answer.url.path}: {answer.status} {text}")
    body: dict[str, str] = await answer.json()
    return body
