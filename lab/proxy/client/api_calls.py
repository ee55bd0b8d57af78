"""The API's calls as values: what to send and how to read the answer, whoever sends it."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

AGENT = "breakwater"
Attributes = Mapping[str, int | float | str]


class ProxyError(Exception):
    """The proxy said no: `status` is HTTP's, the message its own words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{message} (status {status})")
        self.status = status
        self.message = message


class ProxyUnreachable(Exception):
    """No answer came; whether the call had its effect is unknown."""


@dataclass(frozen=True, slots=True)
class ToxicView:
    """A toxic as the proxy tells it; `record` is empty from a real Toxiproxy or under --strict."""

    name: str
    type: str
    stream: str
    toxicity: float
    attributes: dict[str, Any]
    record: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProxyView:
    """A proxy as it tells itself; `listen` and `upstream` are `host:port`."""

    name: str
    listen: str
    upstream: str
    enabled: bool
    toxics: tuple[ToxicView, ...] = ()
    outage: dict[str, Any] | None = None  # the record of its being down by command
    open_connections: int = 0

    @property
    def port(self) -> int:
        return int(self.listen.rpartition(":")[2])


@dataclass(frozen=True, slots=True)
class Call:
    """One request, whoever sends it."""

    method: str
    path: str
    body: Any = None

    def encoded(self) -> bytes | None:
        return None if self.body is None else json.dumps(self.body).encode()


LIST = Call("GET", "/proxies")
RESET = Call("POST", "/reset")
ABOUT = Call("GET", "/breakwater")


def populate(proxies: Iterable[Mapping[str, Any]]) -> Call:
    return Call("POST", "/populate", list(proxies))


def add(
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
) -> Call:
    body: dict[str, Any] = {
        "type": type,
        "stream": stream,
        "toxicity": toxicity,
        "attributes": dict(attributes or {}),
    }
    optional = {"name": name, "ttl": ttl_s, "seed": seed, "fault_id": fault_id, "kind": kind}
    body.update({key: value for key, value in optional.items() if value is not None})
    return Call("POST", f"{proxy_path(proxy)}/toxics", body)


def change(
    proxy: str,
    toxic: str,
    attributes: Attributes | None = None,
    toxicity: float | None = None,
    ttl_s: float | None = None,
) -> Call:
    optional = {"attributes": attributes, "toxicity": toxicity, "ttl": ttl_s}
    body = {key: value for key, value in optional.items() if value is not None}
    return Call("PATCH", toxic_path(proxy, toxic), body)


def show(proxy: str, toxic: str) -> Call:
    return Call("GET", toxic_path(proxy, toxic))


def remove(proxy: str, toxic: str) -> Call:
    return Call("DELETE", toxic_path(proxy, toxic))


def delete(proxy: str) -> Call:
    return Call("DELETE", proxy_path(proxy))


def enable(
    proxy: str, enabled: bool, ttl_s: float | None = None, fault_id: str | None = None
) -> Call:
    optional = {"ttl": ttl_s, "fault_id": fault_id}
    body: dict[str, Any] = {"enabled": enabled}
    body.update({key: value for key, value in optional.items() if value is not None})
    return Call("PATCH", proxy_path(proxy), body)


def proxy_view(told: Mapping[str, Any]) -> ProxyView:
    extra = told.get("breakwater") or {}
    return ProxyView(
        name=told["name"],
        listen=told["listen"],
        upstream=told["upstream"],
        enabled=told["enabled"],
        toxics=tuple(toxic_view(toxic) for toxic in told.get("toxics") or ()),
        outage=extra.get("outage"),
        open_connections=extra.get("open_connections", 0),
    )


def populated(told: Mapping[str, Any]) -> tuple[ProxyView, ...]:
    return tuple(proxy_view(proxy) for proxy in told["proxies"] or ())


def listed(told: Mapping[str, Any]) -> dict[str, ProxyView]:
    return {name: proxy_view(proxy) for name, proxy in told.items()}


def toxic_view(told: Mapping[str, Any]) -> ToxicView:
    return ToxicView(
        name=told["name"],
        type=told["type"],
        stream=told["stream"],
        toxicity=told["toxicity"],
        attributes=told["attributes"],
        record=told.get("breakwater") or {},
    )


def proxy_path(proxy: str) -> str:
    return f"/proxies/{quote(proxy, safe='')}"


def toxic_path(proxy: str, toxic: str) -> str:
    return f"{proxy_path(proxy)}/toxics/{quote(toxic, safe='')}"


def headers(token: str | None) -> dict[str, str]:
    sent = {"User-Agent": AGENT, "Content-Type": "application/json"}
    if token is not None:
        sent["Authorization"] = f"Bearer {token}"
    return sent


def understand(status: int, body: bytes) -> Any:
    """The answer's JSON, None if empty; raises ProxyError with the server's own words."""
    if status < 300:
        return json.loads(body) if body else None
    try:
        message = str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        message = body.decode(errors="replace").strip() or "no reason given"
    raise ProxyError(status, message)
