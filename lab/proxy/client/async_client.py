"""The client of the proxy's API for an event loop: the calls of lab.proxy.client.client."""

from collections.abc import Iterable, Mapping
from typing import Any

import aiohttp
from yarl import URL

from lab.proxy.client import api_calls
from lab.proxy.client.api_calls import Attributes, Call, ProxyUnreachable, ProxyView, ToxicView
from lab.proxy.client.client import TIMEOUT_S


class AsyncProxyClient:
    """The same calls on a session that the caller owns, opens and closes."""

    def __init__(self, session: aiohttp.ClientSession, api: str, token: str | None = None) -> None:
        self._session = session
        self._api = api
        self._headers = api_calls.headers(token)
        self._timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)

    async def populate(self, proxies: Iterable[Mapping[str, Any]]) -> tuple[ProxyView, ...]:
        return api_calls.populated(await self._send(api_calls.populate(proxies)))

    async def list(self) -> dict[str, ProxyView]:
        return api_calls.listed(await self._send(api_calls.LIST))

    async def add(
        self, proxy: str, type: str, attributes: Attributes | None = None, **options: Any
    ) -> ToxicView:
        return api_calls.toxic_view(
            await self._send(api_calls.add(proxy, type, attributes, **options))
        )

    async def change(self, proxy: str, toxic: str, **changes: Any) -> ToxicView:
        return api_calls.toxic_view(await self._send(api_calls.change(proxy, toxic, **changes)))

    async def show(self, proxy: str, toxic: str) -> ToxicView:
        return api_calls.toxic_view(await self._send(api_calls.show(proxy, toxic)))

    async def remove(self, proxy: str, toxic: str) -> None:
        await self._send(api_calls.remove(proxy, toxic))

    async def delete(self, proxy: str) -> None:
        await self._send(api_calls.delete(proxy))

    async def enable(self, proxy: str, enabled: bool, **options: Any) -> ProxyView:
        return api_calls.proxy_view(await self._send(api_calls.enable(proxy, enabled, **options)))

    async def reset(self) -> None:
        await self._send(api_calls.RESET)

    async def removed(self) -> tuple[dict[str, Any], ...]:
        return tuple((await self._send(api_calls.ABOUT))["removed"])

    async def _send(self, call: Call) -> Any:
        url = URL(f"http://{self._api}{call.path}", encoded=True)
        try:
            async with self._session.request(
                call.method,
                url,
                data=call.encoded(),
                headers=self._headers,
                timeout=self._timeout,
            ) as response:
                return api_calls.understand(response.status, await response.read())
        except (OSError, TimeoutError, aiohttp.ClientError) as error:
            raise ProxyUnreachable(f"{self._api}: {error or type(error).__name__}") from error
