"""The fault proxy's side of faults: toxics on the edges of a proxied lab, which it undoes itself."""

from __future__ import annotations

import fnmatch
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeGuard
from urllib.parse import urlsplit

from lab.chaos.faults.process_faults import FaultRefused, UnknownTarget
from lab.fault_kinds.edges import BOTH, KINDS, STREAMS
from lab.nearest import did_you_mean
from lab.proxy.client import ProxyClient, ProxyError, ProxyUnreachableError, ProxyView
from lab.state import Lab

ARROW = "->"
SCOPE = ("stream", "share")
ONE_AT_A_TIME = ("down", "connection_cap")


def is_edge(target: str | None) -> TypeGuard[str]:
    return target is not None and ARROW in target


@dataclass(frozen=True)
class Order:
    """A fault of one edge, checked, in the proxy's words."""

    kind: str
    attributes: dict[str, Any]  # the toxic's
    streams: tuple[str, ...]
    share: float
    ttl_s: float
    seed: int | None


class EdgeFaults:
    """Asks the fault proxy of `lab`. A lab without one holds no such fault."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def add(self, target: str, spec: dict[str, Any]) -> list[dict[str, Any]]:
        """On every edge that `target` means, or on none. Raises UnknownTarget, FaultRefused."""
        order = checked(spec)
        return self.put(dict.fromkeys(self.edges(target), order.streams), order)

    def put(self, edges: dict[str, tuple[str, ...]], order: Order) -> list[dict[str, Any]]:
        """`order` on each edge, in the directions named for it; all or none."""
        stem = uuid.uuid4().hex[:8]
        there = self._list()
        for edge in edges:
            _check_free(there[edge], order.kind)
        done: list[str] = []
        try:
            for edge, streams in edges.items():
                done.append(edge)
                self._put(edge, streams, order, f"{order.kind}-{edge}-{stem}")
        except FaultRefused:
            for edge in done:
                self._remove(edge, f"{order.kind}-{edge}-{stem}")
            raise
        mine = {f"{order.kind}-{edge}-{stem}" for edge in edges}
        return [view for view in self.armed() if view["id"] in mine]

    def edges(self, target: str) -> list[str]:
        """Names of the edges: one, those to all instances of a service, or those that fit stars."""
        names = sorted(self._list())
        patterns = (target, f"{target}-[0-9]*")
        found = [name for name in names if any(fnmatch.fnmatchcase(name, p) for p in patterns)]
        if not found:
            hint = did_you_mean(target, names)
            raise UnknownTarget(
                f"no edge {target!r} in the lab.{hint} There are: {', '.join(names)}"
            )
        return found

    def armed(self, target: str | None = None) -> list[dict[str, Any]]:
        """Views like those of the services' own faults; `target` is the edge."""
        if not self._lab.proxied:
            return []
        names = None if target is None else set(self.edges(target))
        views = [
            view
            for edge in self._list().values()
            if names is None or edge.name in names
            for view in _views(edge)
        ]
        return _merged(views)

    def history(self, target: str | None = None) -> list[dict[str, Any]]:
        """The last 1,000 that went, then those in force."""
        if not self._lab.proxied:
            return []
        names = None if target is None else set(self.edges(target))
        with self._understood():
            gone = [_view(each["proxy"], each) for each in self._client.removed()]
        chosen = [view for view in gone if names is None or view["target"] in names]
        return _merged([*chosen, *self.armed(target)])

    def clear(self, target: str | None = None) -> int:
        """Everything off the wire, or off these edges; how many faults there were."""
        armed = self.armed(target)
        if target is None and armed:
            with self._understood():
                self._client.reset()  # one call: a guard must not wait for many
        elif armed:
            for view in armed:
                self._remove(view["target"], view["id"])
        return len(armed)

    def remove(self, view: dict[str, Any]) -> None:
        """One fault; one that has already ended is fine."""
        self._remove(view["target"], view["id"])

    def _put(self, edge: str, streams: tuple[str, ...], order: Order, fault_id: str) -> None:
        with self._understood(edge):
            if order.kind == "down":
                self._client.enable(edge, False, ttl_s=order.ttl_s, fault_id=fault_id)
                return
            for stream in streams:
                self._client.add(
                    edge,
                    KINDS[order.kind].toxic,
                    order.attributes,
                    stream=stream,
                    toxicity=order.share,
                    name=f"{fault_id}.{stream}",
                    ttl_s=order.ttl_s,
                    seed=order.seed,
                    fault_id=fault_id,
                    kind=order.kind,
                )

    def _remove(self, edge: str, fault_id: str) -> None:
        with self._understood(edge, fine=(404,)):
            there = self._client.list().get(edge)
            if there is None:
                return
            if there.outage is not None and there.outage["fault_id"] == fault_id:
                self._client.enable(edge, True)
            for toxic in there.toxics:
                if toxic.record.get("fault_id") == fault_id:
                    self._client.remove(edge, toxic.name)

    def _list(self) -> dict[str, ProxyView]:
        with self._understood():
            return self._client.list()

    @property
    def _client(self) -> ProxyClient:
        if not self._lab.proxied:
            raise FaultRefused(
                "this lab has no fault proxy on its edges: `lab down`, then `lab up --proxied`"
            )
        return ProxyClient(
            urlsplit(self._lab.addresses["proxy"]).netloc, self._lab.proxy_token or None
        )

    @contextmanager
    def _understood(self, edge: str = "", fine: tuple[int, ...] = ()) -> Iterator[None]:
        """The proxy's refusals in our words. Raises FaultRefused."""
        try:
            yield
        except ProxyError as error:
            if error.status not in fine:
                raise FaultRefused(f"{edge or 'the fault proxy'}: {error.message}") from None
        except ProxyUnreachableError as error:
            raise FaultRefused(f"the fault proxy does not answer: {error}") from None


def checked(spec: dict[str, Any]) -> Order:
    """Raises FaultRefused with what is expected."""
    kind = KINDS.get(spec["kind"])
    if kind is None:
        hint = did_you_mean(str(spec["kind"]), KINDS)
        raise FaultRefused(
            f"no fault {spec['kind']!r} on an edge.{hint} There are: {', '.join(KINDS)}"
        )
    given, scope = dict(spec.get("attributes") or {}), dict(spec.get("scope") or {})
    _only("attribute", given, kind.attributes, spec["kind"])
    _only("scope", scope, SCOPE, "an edge")
    if missing := [name for name in kind.required if name not in given]:
        raise FaultRefused(f"{spec['kind']} needs {', '.join(missing)}")
    if spec.get("point") not in (None, "", "edge"):
        raise FaultRefused(f"point {spec['point']!r}: on an edge there is none to choose")
    stream, share = scope.get("stream", kind.stream), scope.get("share", 1.0)
    if stream not in (*STREAMS, BOTH):
        raise FaultRefused(f"stream {stream!r}: expected {', '.join(STREAMS)} or {BOTH}")
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
        raise FaultRefused(f"share {share!r}: expected a number above 0 and up to 1")
    return Order(
        spec["kind"],
        {**{kind.attributes[name]: value for name, value in given.items()}, **kind.fixed},
        STREAMS if stream == BOTH else (stream,),
        float(share),
        _ttl_s(spec.get("ttl_s")),
        spec.get("seed") or None,
    )


def _ttl_s(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 86400:
        raise FaultRefused(f"ttl_s: expected seconds above 0 and below a day, got {value!r}")
    return float(value)


def _only(what: str, given: dict[str, Any], known: Any, where: str) -> None:
    for name in given:
        if name not in known:
            expected = ", ".join(known) or "none"
            raise FaultRefused(f"{what} {name!r} means nothing to {where}: expected {expected}")


def _check_free(edge: ProxyView, kind: str) -> None:
    """Two of these on one edge would undo each other's end."""
    for view in _views(edge):
        if kind == view["kind"] and kind in ONE_AT_A_TIME:
            raise FaultRefused(
                f"{edge.name} has {view['id']} already: wait until it ends, or clear it"
            )
        if view["kind"] == "down":
            raise FaultRefused(
                f"{edge.name} is down by {view['id']}: nothing can pass that it would hit"
            )


def _views(edge: ProxyView) -> Iterator[dict[str, Any]]:
    for toxic in edge.toxics:
        about = {"type": toxic.type, "attributes": toxic.attributes, "stream": toxic.stream}
        yield _view(edge.name, {**about, "toxicity": toxic.toxicity, "breakwater": toxic.record})
    if edge.outage is not None:
        yield _view(edge.name, {"type": "down", "breakwater": edge.outage})


def _view(edge: str, told: dict[str, Any]) -> dict[str, Any]:
    """The proxy's words in those of the services' faults."""
    record = told["breakwater"]
    kind = KINDS.get(record["kind"])
    theirs = {theirs: ours for ours, theirs in kind.attributes.items()} if kind else {}
    fixed = kind.fixed if kind else {}
    attributes = {
        theirs.get(name, name): value
        for name, value in told.get("attributes", {}).items()
        if name not in fixed
    }
    scope = {"stream": told["stream"]} if "stream" in told else {}
    scope |= {"share": told["toxicity"]} if told.get("toxicity", 1) != 1 else {}
    expires = record["expires_at"]
    started = record["effective_at"] or record["commanded_at"]
    return {
        "id": record["fault_id"],
        "kind": record["kind"],
        "target": edge,
        "point": "edge",
        "attributes": attributes,
        "scope": scope,
        "seed": record.get("seed"),
        "ttl_s": record.get("ttl") or (round(expires - started, 3) if expires else None),
        "commanded_s": record["commanded_at"],
        "effective_s": record["effective_at"],
        "removed_s": record["removed_at"],
        "hits": record["hits"],
        "evidence": {
            "counted_by": "proxy",
            "first_hit_s": record["first_hit_at"],
            "last_hit_s": record["last_hit_at"],
            **{name: record[name] for name in ("connections", "affected", "bytes", "removed_by")},
        },
    }


def _merged(views: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One view a fault: the toxics of its two directions are parts of it."""
    found: dict[str, dict[str, Any]] = {}
    for view in views:
        first = found.setdefault(view["id"], view)
        if first is not view:
            first["hits"] += view["hits"]
            first["scope"] = {**first["scope"], "stream": BOTH}
            for name in ("connections", "affected", "bytes"):
                first["evidence"][name] += view["evidence"][name]
            first["removed_s"] = first["removed_s"] and view["removed_s"]
    return list(found.values())
