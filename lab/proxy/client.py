"""A typed client of the fault proxy's API, one connection per call."""

import http.client
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

AGENT = "breakwater"
TIMEOUT_S = 10.0
Attributes = Mapping[str, int | float | str]


class ProxyError(Exception):
    """The proxy refused a call: `status` is the HTTP status, `message` the API's error text."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{message} (status {status})")
        self.status = status
        self.message = message


class ProxyUnreachableError(Exception):
    """No answer arrived; whether the call had its effect is unknown."""


@dataclass(frozen=True, slots=True)
class ToxicView:
    """A toxic as the API reports it; `record` is empty from Toxiproxy and under --strict."""

    name: str
    type: str
    stream: str
    toxicity: float
    attributes: dict[str, Any]
    record: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> "ToxicView":
        return cls(
            name=body["name"],
            type=body["type"],
            stream=body["stream"],
            toxicity=body["toxicity"],
            attributes=body["attributes"],
            record=body.get("breakwater") or {},
        )


@dataclass(frozen=True, slots=True)
class ProxyView:
    """A proxy as the API reports it; `listen` and `upstream` are `host:port`."""

    name: str
    listen: str
    upstream: str
    enabled: bool
    toxics: tuple[ToxicView, ...] = ()
    outage: dict[str, Any] | None = None  # the record of the outage while the proxy is disabled
    open_connections: int = 0

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> "ProxyView":
        extra = body.get("breakwater") or {}
        return cls(
            name=body["name"],
            listen=body["listen"],
            upstream=body["upstream"],
            enabled=body["enabled"],
            toxics=tuple(ToxicView.of(toxic) for toxic in body.get("toxics") or ()),
            outage=extra.get("outage"),
            open_connections=extra.get("open_connections", 0),
        )

    @property
    def port(self) -> int:
        return int(self.listen.rpartition(":")[2])


class ProxyClient:
    """`api` is `host:port`. Every call raises ProxyError or ProxyUnreachableError."""

    def __init__(self, api: str, token: str | None = None) -> None:
        self._api = api
        self._headers = {"User-Agent": AGENT, "Content-Type": "application/json"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"

    def populate(self, proxies: Iterable[Mapping[str, Any]]) -> tuple[ProxyView, ...]:
        """Each is `{"name", "listen", "upstream"}`; add `"enabled": false` to start it disabled."""
        body = self._send("POST", "/populate", list(proxies))
        return tuple(ProxyView.of(proxy) for proxy in body["proxies"] or ())

    def list(self) -> dict[str, ProxyView]:
        proxies = self._send("GET", "/proxies")
        return {name: ProxyView.of(proxy) for name, proxy in proxies.items()}

    def delete(self, proxy: str) -> None:
        """Deletes the proxy and closes its connections."""
        self._send("DELETE", _path(proxy))

    def enable(
        self, proxy: str, enabled: bool, *, ttl_s: float | None = None, fault_id: str | None = None
    ) -> ProxyView:
        """With `enabled=False` the proxy is down; after `ttl_s` it enables itself again."""
        optional = _given(ttl=ttl_s, fault_id=fault_id)
        return ProxyView.of(self._send("PATCH", _path(proxy), {"enabled": enabled, **optional}))

    def reset(self) -> None:
        """Removes every toxic and enables every proxy."""
        self._send("POST", "/reset")

    def add(
        self,
        proxy: str,
        type: str,
        attributes: Attributes | None = None,
        *,
        stream: str = "downstream",
        toxicity: float = 1.0,
        name: str | None = None,
        ttl_s: float | None = None,
        seed: int | None = None,
        fault_id: str | None = None,
        kind: str | None = None,
    ) -> ToxicView:
        """Adds a toxic; docs/proxy.md lists the types and their attributes."""
        body = {
            "type": type,
            "stream": stream,
            "toxicity": toxicity,
            "attributes": dict(attributes or {}),
            **_given(name=name, ttl=ttl_s, seed=seed, fault_id=fault_id, kind=kind),
        }
        return ToxicView.of(self._send("POST", f"{_path(proxy)}/toxics", body))

    def change(
        self,
        proxy: str,
        toxic: str,
        *,
        attributes: Attributes | None = None,
        toxicity: float | None = None,
        ttl_s: float | None = None,
    ) -> ToxicView:
        body = _given(attributes=attributes, toxicity=toxicity, ttl=ttl_s)
        return ToxicView.of(self._send("PATCH", _path(proxy, toxic), body))

    def show(self, proxy: str, toxic: str) -> ToxicView:
        return ToxicView.of(self._send("GET", _path(proxy, toxic)))

    def remove(self, proxy: str, toxic: str) -> None:
        self._send("DELETE", _path(proxy, toxic))

    def removed(self) -> tuple[dict[str, Any], ...]:
        """The last removed faults with their records; Toxiproxy answers 404."""
        return tuple(self._send("GET", "/breakwater")["removed"])

    def _send(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's JSON, None for an empty answer."""
        content = None if body is None else json.dumps(body).encode()
        connection = http.client.HTTPConnection(self._api, timeout=TIMEOUT_S)
        try:
            connection.request(method, path, content, self._headers)
            response = connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise ProxyUnreachableError(f"{self._api}: {error or type(error).__name__}") from error
        finally:
            connection.close()
        if response.status >= 300:
            raise ProxyError(response.status, _error_text(answer))
        return json.loads(answer) if answer else None


def _path(proxy: str, toxic: str | None = None) -> str:
    path = f"/proxies/{quote(proxy, safe='')}"
    return path if toxic is None else f"{path}/toxics/{quote(toxic, safe='')}"


def _given(**optional: Any) -> dict[str, Any]:
    return {name: value for name, value in optional.items() if value is not None}


def _error_text(answer: bytes) -> str:
    try:
        return str(json.loads(answer)["error"])
    except (ValueError, KeyError, TypeError):
        return answer.decode(errors="replace").strip() or "no reason given"
