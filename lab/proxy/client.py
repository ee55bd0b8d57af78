"""A typed client of the proxy's API; lab.proxy.async_client has the same for an event loop."""

import http.client
from collections.abc import Iterable, Mapping
from typing import Any

from lab.proxy import calls
from lab.proxy.calls import Attributes, Call, ProxyError, ProxyUnreachable, ProxyView, ToxicView

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
        self._headers = calls.headers(token)

    def populate(self, proxies: Iterable[Mapping[str, Any]]) -> tuple[ProxyView, ...]:
        """Each is `{"name", "listen", "upstream"}`, and `"enabled"` if it starts down."""
        return calls.populated(self._send(calls.populate(proxies)))

    def list(self) -> dict[str, ProxyView]:
        return calls.listed(self._send(calls.LIST))

    def add(
        self, proxy: str, type: str, attributes: Attributes | None = None, **options: Any
    ) -> ToxicView:
        """Options are those of `calls.add`: stream, toxicity, name, ttl_s, seed."""
        return calls.toxic_view(self._send(calls.add(proxy, type, attributes, **options)))

    def change(self, proxy: str, toxic: str, **changes: Any) -> ToxicView:
        """Changes are those of `calls.change`: attributes, toxicity, ttl_s."""
        return calls.toxic_view(self._send(calls.change(proxy, toxic, **changes)))

    def show(self, proxy: str, toxic: str) -> ToxicView:
        return calls.toxic_view(self._send(calls.show(proxy, toxic)))

    def remove(self, proxy: str, toxic: str) -> None:
        self._send(calls.remove(proxy, toxic))

    def delete(self, proxy: str) -> None:
        """The proxy itself, its connections with it."""
        self._send(calls.delete(proxy))

    def enable(self, proxy: str, enabled: bool, **options: Any) -> ProxyView:
        """Down with `enabled=False`; a `ttl_s` brings it up again whoever died."""
        return calls.proxy_view(self._send(calls.enable(proxy, enabled, **options)))

    def reset(self) -> None:
        self._send(calls.RESET)

    def removed(self) -> tuple[dict[str, Any], ...]:
        """The last faults that went, with their records; a real Toxiproxy answers 404."""
        return tuple(self._send(calls.ABOUT)["removed"])

    def _send(self, call: Call) -> Any:
        connection = http.client.HTTPConnection(self._api, timeout=TIMEOUT_S)
        try:
            connection.request(call.method, call.path, call.encoded(), self._headers)
            response = connection.getresponse()
            return calls.understand(response.status, response.read())
        except (OSError, http.client.HTTPException) as error:
            raise ProxyUnreachable(f"{self._api}: {error or type(error).__name__}") from error
        finally:
            connection.close()
