"""Faults of edges: the client of the fault proxy, which applies them as toxics and removes them itself."""

from __future__ import annotations

import fnmatch
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from chassis.fault_record import FaultRecord
from lab.chaos.faults.edge_specs import EdgeFaultSpec, edge_fault_spec
from lab.chaos.faults.errors import FaultRefusedError, UnknownTargetError
from lab.fault_kinds.edges import BOTH, KINDS
from lab.nearest import did_you_mean
from lab.proxy.client import ProxyClient, ProxyError, ProxyUnreachableError, ProxyView
from lab.proxy.toxic_record import fault_record
from lab.state import Lab

ONE_AT_A_TIME = ("down", "connection_cap")
COUNTERS = ("connections", "affected", "bytes")


class EdgeFaultClient:
    """A lab without a fault proxy has no such fault."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def add(self, target: str, spec: dict[str, Any]) -> list[FaultRecord]:
        """On every edge that `target` means, or on none. Raises UnknownTargetError, FaultRefusedError."""
        checked = edge_fault_spec(spec)
        return self.put(dict.fromkeys(self.edges(target), checked.streams), checked)

    def put(self, edges: dict[str, tuple[str, ...]], spec: EdgeFaultSpec) -> list[FaultRecord]:
        """The fault on each edge, in the directions given for it; on all edges or on none."""
        stem = uuid.uuid4().hex[:8]
        ids = {edge: f"{spec.kind}-{edge}-{stem}" for edge in edges}
        proxies = self._list()
        for edge in edges:
            _check_free(proxies[edge], spec.kind)
        done: list[str] = []
        try:
            for edge, streams in edges.items():
                done.append(edge)
                self._put(edge, streams, spec, ids[edge])
        except FaultRefusedError:
            for edge in done:
                self.remove(edge, ids[edge])
            raise
        return [record for record in self.armed() if record.fault_id in ids.values()]

    def edges(self, target: str) -> list[str]:
        """The edges that `target` means: one, those to all instances of a service, or those that match stars."""
        names = sorted(self._list())
        patterns = (target, f"{target}-[0-9]*")
        found = [name for name in names if any(fnmatch.fnmatchcase(name, p) for p in patterns)]
        if not found:
            hint = did_you_mean(target, names)
            raise UnknownTargetError(
                f"no edge {target!r} in the lab.{hint} There are: {', '.join(names)}"
            )
        return found

    def armed(self, target: str | None = None) -> list[FaultRecord]:
        if not self._lab.proxied:
            return []
        names = None if target is None else set(self.edges(target))
        proxies = [each for each in self._list().values() if names is None or each.name in names]
        return _merged(record for proxy in proxies for record in _records(proxy))

    def history(self, target: str | None = None) -> list[FaultRecord]:
        """The last 1,000 removed ones, then the active ones."""
        if not self._lab.proxied:
            return []
        names = None if target is None else set(self.edges(target))
        with self._refusals_translated():
            removed = [_record(each["proxy"], each) for each in self._client.removed()]
        chosen = [record for record in removed if names is None or record.target in names]
        return _merged([*chosen, *self.armed(target)])

    def clear(self, target: str | None = None) -> int:
        """Removes every fault, of these edges or of all; returns their number."""
        armed = self.armed(target)
        if target is None and armed:
            with self._refusals_translated():
                self._client.reset()  # one call: a guard must not wait for many
        elif armed:
            for record in armed:
                self.remove(record.target, record.fault_id)
        return len(armed)

    def remove(self, edge: str, fault_id: str) -> None:
        """Removes one fault; does nothing if it has ended already."""
        with self._refusals_translated(edge, accepted=(404,)):
            proxy = self._client.list().get(edge)
            if proxy is None:
                return
            if proxy.outage is not None and proxy.outage["fault_id"] == fault_id:
                self._client.enable(edge, True)
            for toxic in proxy.toxics:
                if toxic.record.get("fault_id") == fault_id:
                    self._client.remove(edge, toxic.name)

    def _put(self, edge: str, streams: tuple[str, ...], spec: EdgeFaultSpec, fault_id: str) -> None:
        with self._refusals_translated(edge):
            if spec.kind == "down":
                self._client.enable(edge, False, ttl_s=spec.ttl_s, fault_id=fault_id)
                return
            for stream in streams:
                self._client.add(
                    edge,
                    KINDS[spec.kind].toxic,
                    spec.attributes,
                    stream=stream,
                    toxicity=spec.share,
                    name=f"{fault_id}.{stream}",
                    ttl_s=spec.ttl_s,
                    seed=spec.seed,
                    fault_id=fault_id,
                    kind=spec.kind,
                )

    def _list(self) -> dict[str, ProxyView]:
        with self._refusals_translated():
            return self._client.list()

    @property
    def _client(self) -> ProxyClient:
        if not self._lab.proxied:
            raise FaultRefusedError(
                "this lab has no fault proxy on its edges: `lab down`, then `lab up --proxied`"
            )
        return ProxyClient(
            urlsplit(self._lab.addresses["proxy"]).netloc, self._lab.proxy_token or None
        )

    @contextmanager
    def _refusals_translated(
        self, edge: str = "", accepted: tuple[int, ...] = ()
    ) -> Iterator[None]:
        """Raises FaultRefusedError for the proxy's errors, unless their status is `accepted`."""
        try:
            yield
        except ProxyError as error:
            if error.status not in accepted:
                raise FaultRefusedError(f"{edge or 'the fault proxy'}: {error.message}") from None
        except ProxyUnreachableError as error:
            raise FaultRefusedError(f"the fault proxy does not answer: {error}") from None


def _check_free(proxy: ProxyView, kind: str) -> None:
    """Two of these on one edge would end each other."""
    for record in _records(proxy):
        if kind == record.kind and kind in ONE_AT_A_TIME:
            raise FaultRefusedError(
                f"{proxy.name} has {record.fault_id} already: wait until it ends, or clear it"
            )
        if record.kind == "down":
            raise FaultRefusedError(
                f"{proxy.name} is down by {record.fault_id}: no traffic passes that it could hit"
            )


def _records(proxy: ProxyView) -> Iterator[FaultRecord]:
    for toxic in proxy.toxics:
        described = {"attributes": toxic.attributes, "stream": toxic.stream}
        yield _record(
            proxy.name, {**described, "toxicity": toxic.toxicity, "breakwater": toxic.record}
        )
    if proxy.outage is not None:
        yield _record(proxy.name, {"breakwater": proxy.outage})


def _record(edge: str, toxic: dict[str, Any]) -> FaultRecord:
    """From the proxy's JSON, with the attributes under our names."""
    record = toxic["breakwater"]
    kind = KINDS.get(record["kind"])
    ours = {theirs: ours for ours, theirs in kind.attributes.items()} if kind else {}
    fixed = kind.fixed if kind else {}
    scope = {"stream": toxic["stream"]} if "stream" in toxic else {}
    scope |= {"share": toxic["toxicity"]} if toxic.get("toxicity", 1) != 1 else {}
    expires_s, started_s = record["expires_s"], record["effective_s"] or record["commanded_s"]
    return fault_record(
        edge,
        record,
        scope=scope,
        attributes={
            ours.get(name, name): value
            for name, value in toxic.get("attributes", {}).items()
            if name not in fixed
        },
        ttl_s=record.get("ttl") or (round(expires_s - started_s, 3) if expires_s else None),
    )


def _merged(records: Iterable[FaultRecord]) -> list[FaultRecord]:
    """One record per fault: the toxics of its two directions are parts of it."""
    found: dict[str, FaultRecord] = {}
    for record in records:
        first = found.get(record.fault_id)
        found[record.fault_id] = record if first is None else _added(first, record)
    return list(found.values())


def _added(first: FaultRecord, second: FaultRecord) -> FaultRecord:
    counted = {name: first.evidence[name] + second.evidence[name] for name in COUNTERS}
    return replace(
        first,
        hits=first.hits + second.hits,
        scope={**first.scope, "stream": BOTH},
        evidence={**first.evidence, **counted},
        removed_s=first.removed_s and second.removed_s,
    )
