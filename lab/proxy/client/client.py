"""A typed client of the proxy's API; lab.proxy.client.async_client has the same for an event loop."""

import http.client
from collections.abc import Iterable, Mapping
from typing import Any

from lab.proxy.client import api_calls
from lab.proxy.client.api_calls import (
    Attributes,
    Call,
    ProxyError,
    ProxyUnreachable,
    ProxyView,
    ToxicView,
)

TIMEOUT_S = 10.0

__all__ = [
    "ProxyClient",
    "ProxyError",
    "ProxyUnreachable",
    "ProxyView",
    "ToxicView",
]


class ProxyClient:
    """The plain form, one connection a call: for Chaos Toolkit actions and scripts.

    `api` is `host:port`. Every call raises ProxyError or ProxyUnreachable.
    """

    def __init__(self, api: str, token: str | None = None) -> None:
        self._api = api
        self._headers = api_calls.headers(token)

    def populate(self, proxies: Iterable[Mapping[str, Any]]) -> tuple[ProxyView, ...]:
        """Each is `{"name", "listen", "upstream"}`, and `"enabled"` if it starts down."""
        return api_calls.populated(self._send(api_calls.populate(proxies)))

    def list(self) -> dict[str, ProxyView]:
        return api_calls.listed(self._send(api_calls.LIST))

    def add(
        self, proxy: str, type: str, attributes: Attributes | None = None, **options: Any
    ) -> ToxicView:
        """Options are those of `calls.add`: stream, toxicity, name, ttl_s, seed."""
        return api_calls.toxic_view(self._send(api_calls.add(proxy, type, attributes, **options)))

    def change(self, proxy: str, toxic: str, **changes: Any) -> ToxicView:
        """Changes are those of `calls.change`: attributes, toxicity, ttl_s."""
        return api_calls.toxic_view(self._send(api_calls.change(proxy, toxic, **changes)))

    def show(self, proxy: str, toxic: str) -> ToxicView:
        return api_calls.toxic_view(self._send(api_calls.show(proxy, toxic)))

    def remove(self, proxy: str, toxic: str) -> None:
        self._send(api_calls.remove(proxy, toxic))

    def delete(self, proxy: str) -> None:
        """The proxy itself, its connections with it."""
        self._send(api_calls.delete(proxy))

    def enable(self, proxy: str, enabled: bool, **options: Any) -> ProxyView:
        """Down with `enabled=False`; a `ttl_s` brings it up again whoever died."""
        return api_calls.proxy_view(self._send(api_calls.enable(proxy, enabled, **options)))

    def reset(self) -> None:
        self._send(api_calls.RESET)

    def removed(self) -> tuple[dict[str, Any], ...]:
        """The last faults that went, with their records; a real Toxiproxy answers 404."""
        return tuple(self._send(api_calls.ABOUT)["removed"])

    def _send(self, call: Call) -> Any:
        connection = http.client.HTTPConnection(self._api, timeout=TIMEOUT_S)
        try:
            connection.request(call.method, call.path, call.encoded(), self._headers)
            response = connection.getresponse()
            return api_calls.understand(response.status, response.read())
        except (OSError, http.client.HTTPException) as error:
            raise ProxyUnreachable(f"{self._api}: {error or type(error).__name__}") from error
        finally:
            connection.close()
