"""All proxies of one server by name, and the operations of the API on them."""

import time
from dataclasses import dataclass

from lab.proxy.api.json_fields import Fields, items
from lab.proxy.data_path import addresses
from lab.proxy.data_path.names import Resolved
from lab.proxy.errors import (
    ApiError,
    BadRequestBodyError,
    MissingFieldError,
    ProxyExistsError,
    ProxyNotFoundError,
)
from lab.proxy.proxy import Proxy, ProxyContext
from lab.proxy.toxic import new_record, read_ttl_s
from lab.proxy.toxic_record import Record, fault_record

OUTAGE_RETRY_S = 0.1
# `toxics` and `breakwater` are in our own answers, and clients send back whole answers.
SPEC_FIELDS = ("name", "listen", "upstream", "enabled", "toxics", "breakwater")
CHANGE_FIELDS = (*SPEC_FIELDS, "ttl", "fault_id", "kind")


@dataclass(frozen=True, slots=True)
class ProxySpec:
    """A proxy as a request body describes it."""

    name: str
    listen: str
    upstream: str
    enabled: bool
    ttl_s: float | None = None
    outage: Record | None = None  # of a proxy that is disabled


class Proxies:
    """Awaits only while it resolves names; afterwards it changes the state without awaiting."""

    def __init__(self, context: ProxyContext) -> None:
        self.context = context
        self._by_name: dict[str, Proxy] = {}

    def all(self) -> list[Proxy]:
        return [self._by_name[name] for name in sorted(self._by_name)]

    def get(self, name: str) -> Proxy:
        proxy = self._by_name.get(name)
        if proxy is None:
            raise ProxyNotFoundError()
        return proxy

    async def create(self, fields: Fields) -> Proxy:
        spec = self._read_spec(fields, "")
        if spec.name in self._by_name:
            raise ProxyExistsError()
        where = await self._resolve(spec.listen) if spec.enabled else None
        if spec.name in self._by_name:  # created meanwhile, while the name was resolved
            raise ProxyExistsError()
        return self._put(spec, where)

    async def populate(self, body: bytes) -> tuple[list[Proxy], ApiError | None]:
        """Adds or replaces each proxy; one with the same listen and upstream stays as it is.

        Returns the proxies that succeeded, and the error that stopped the rest.
        """
        done: list[Proxy] = []
        try:
            wanted = [
                self._read_spec(one, f" at proxy {i}") for i, one in enumerate(items(body), 1)
            ]
            for spec in wanted:
                known = spec.name in self._by_name
                where = await self._resolve(spec.listen) if spec.enabled or known else None
                existing = self._by_name.get(spec.name)
                if existing and where and not _differs(existing, where, spec.upstream):
                    done.append(existing)
                    continue
                done.append(self._replace(existing, spec, where))
        except ApiError as error:
            return done, error
        return done, None

    async def change(self, name: str, fields: Fields) -> Proxy:
        """Changes listen, upstream or enabled; a changed address closes the connections."""
        proxy = self.get(name)
        if self.context.deviations.unknown_fields_are_refused:
            fields.only(CHANGE_FIELDS)
        spec = ProxySpec(
            name,
            fields.text("listen", proxy.listen),
            fields.text("upstream", proxy.upstream),
            fields.flag("enabled", proxy.enabled),
            read_ttl_s(fields, self.context.deviations),
            new_record(fields, "down", name, self.context.deviations),
        )
        where = await self._resolve(spec.listen)
        proxy = self.get(name)
        before = proxy.state()
        if _differs(proxy, where, spec.upstream):
            proxy.stop()
            proxy.listen = addresses.join_host_port(where[1])
            proxy.upstream = spec.upstream
        try:
            if spec.enabled:
                proxy.start(*where)
                self._end_outage(proxy, "api")
            else:
                cut_off = len(proxy.connections)
                proxy.stop()
                self._begin_outage(proxy, where, spec, cut_off)
        except ApiError:
            if self.context.deviations.failed_update_changes_nothing:
                proxy.restore(before)
            raise
        return proxy

    def remove(self, name: str) -> None:
        proxy = self.get(name)
        del self._by_name[name]
        self._discard(proxy, "proxy deleted")

    async def reset(self) -> None:
        """Removes every toxic and enables every proxy, then raises the first error."""
        for proxy in self.all():
            proxy.remove_all(by="reset")
        failed: ApiError | None = None
        for proxy in self.all():
            try:
                await self._enable(proxy, "reset")
            except ApiError as error:
                failed = failed or error
        if failed is not None:
            raise failed

    def close(self) -> None:
        for proxy in self.all():
            self.remove(proxy.name)

    def _read_spec(self, fields: Fields, which: str) -> ProxySpec:
        if self.context.deviations.unknown_fields_are_refused:
            fields.only(SPEC_FIELDS)
            if fields.holds_items("toxics"):
                raise BadRequestBodyError(
                    f"toxics{which}: add each by POST /proxies/{{name}}/toxics after this call"
                )
        spec = ProxySpec(
            fields.text("name"),
            fields.text("listen"),
            fields.text("upstream"),
            fields.flag("enabled", True),
        )
        if not spec.name:
            raise MissingFieldError(f"name{which}")
        if not spec.upstream:
            raise MissingFieldError(f"upstream{which}")
        return spec

    async def _resolve(self, listen: str) -> Resolved:
        if not listen:  # Go selects a free port then
            listen = ":0"
        loopback_only = self.context.deviations.loopback_only
        names = self.context.names
        return await addresses.resolve(listen, names, loopback_only=loopback_only)

    def _put(self, spec: ProxySpec, where: Resolved | None) -> Proxy:
        proxy = Proxy(self.context, spec.name, spec.listen, spec.upstream)
        if spec.enabled and where is not None:
            proxy.start(*where)
        self._by_name[spec.name] = proxy
        return proxy

    def _replace(self, existing: Proxy | None, spec: ProxySpec, where: Resolved | None) -> Proxy:
        if existing is None:
            return self._put(spec, where)
        before = existing.state()
        existing.stop()  # it may hold the port that the new one needs
        try:
            proxy = self._put(spec, where)
        except ApiError:
            if self.context.deviations.failed_update_changes_nothing:
                existing.restore(before)
            raise
        self._discard(existing, "proxy replaced")
        return proxy

    async def _enable(self, proxy: Proxy, by: str) -> None:
        if not proxy.enabled:
            where = await self._resolve(proxy.listen)
            if self._by_name.get(proxy.name) is not proxy:
                return  # removed or replaced meanwhile: its listener must not come back
            proxy.start(*where)
        self._end_outage(proxy, by)

    def _begin_outage(self, proxy: Proxy, where: Resolved, spec: ProxySpec, cut_off: int) -> None:
        if not self.context.deviations.extras:
            return
        ttl_s, now = spec.ttl_s, time.time()
        if proxy.outage is None and spec.outage is not None:
            proxy.outage = spec.outage
            proxy.outage.effective_s = now
            proxy.outage.affected = proxy.outage.hits = cut_off
            fault = fault_record(proxy.name, proxy.outage.view(), ttl_s=ttl_s)
            self.context.on_fault("effective", fault)
        if ttl_s is None or proxy.outage is None:
            return
        if proxy.outage_timer is not None:
            proxy.outage_timer.cancel()
        proxy.outage.expires_s = now + ttl_s
        timers = self.context.timers

        def expire() -> None:
            try:
                proxy.start(*where)
            except ApiError:  # the port is in use: retry, because an outage must end
                proxy.outage_timer = timers.at(timers.now_s() + OUTAGE_RETRY_S, expire)
            else:
                self._end_outage(proxy, "ttl")

        proxy.outage_timer = timers.at(timers.now_s() + ttl_s, expire)

    def _end_outage(self, proxy: Proxy, by: str) -> None:
        if proxy.outage_timer is not None:
            proxy.outage_timer.cancel()
            proxy.outage_timer = None
        if proxy.outage is not None:
            proxy.outage.removed(by)
            shown = {"proxy": proxy.name, "type": "down", "breakwater": proxy.outage.view()}
            self.context.removed.append(shown)
            self.context.on_fault("removed", fault_record(proxy.name, proxy.outage.view()))
            proxy.outage = None

    def _discard(self, proxy: Proxy, by: str) -> None:
        proxy.stop()
        proxy.remove_all(by)
        self._end_outage(proxy, by)


def _differs(proxy: Proxy, where: Resolved, upstream: str) -> bool:
    return (proxy.listen, proxy.upstream) != (addresses.join_host_port(where[1]), upstream)
