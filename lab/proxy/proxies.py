"""All proxies of one server by name: what the API's calls do."""

import time
from dataclasses import dataclass

from lab.proxy.api.errors import ApiError, MissingField, ProxyExists, ProxyNotFound
from lab.proxy.api.json_fields import Fields, items
from lab.proxy.data_path import addresses
from lab.proxy.proxy import Proxy, Surroundings
from lab.proxy.toxic import new_record, read_ttl_s
from lab.proxy.toxic_record import Record

OUTAGE_RETRY_S = 0.1


@dataclass(frozen=True, slots=True)
class Asked:
    """A proxy as a body describes it."""

    name: str
    listen: str
    upstream: str
    enabled: bool
    ttl_s: float | None = None
    outage: Record | None = None  # of a proxy that goes down


class Proxies:
    """Awaits only to resolve names, and changes state afterwards in one go."""

    def __init__(self, around: Surroundings) -> None:
        self.around = around
        self._by_name: dict[str, Proxy] = {}

    def all(self) -> list[Proxy]:
        return [self._by_name[name] for name in sorted(self._by_name)]

    def get(self, name: str) -> Proxy:
        proxy = self._by_name.get(name)
        if proxy is None:
            raise ProxyNotFound()
        return proxy

    async def create(self, fields: Fields) -> Proxy:
        asked = self._asked(fields, "")
        if asked.name in self._by_name:
            raise ProxyExists()
        where = await self._resolve(asked.listen) if asked.enabled else None
        if asked.name in self._by_name:  # somebody was faster while the name was resolved
            raise ProxyExists()
        return self._put(asked, where)

    async def populate(self, body: bytes) -> tuple[list[Proxy], ApiError | None]:
        """Adds or replaces each; what has the same listen and upstream is left untouched.

        Gives those that were done, and the error that kept it from doing the rest.
        """
        done: list[Proxy] = []
        try:
            wanted = [self._asked(one, f" at proxy {i}") for i, one in enumerate(items(body), 1)]
            for asked in wanted:
                where = await self._resolve(asked.listen)
                existing = self._by_name.get(asked.name)
                if existing is not None and not _differs(existing, where, asked.upstream):
                    done.append(existing)
                    continue
                done.append(self._replace(existing, asked, where))
        except ApiError as error:
            return done, error
        return done, None

    async def change(self, name: str, fields: Fields) -> Proxy:
        """Changes listen, upstream, enabled; a changed address closes the connections."""
        proxy = self.get(name)
        asked = Asked(
            name,
            fields.text("listen", proxy.listen),
            fields.text("upstream", proxy.upstream),
            fields.flag("enabled", proxy.enabled),
            read_ttl_s(fields, self.around.deviations),
            new_record(fields, "down", name, self.around.deviations),
        )
        where = await self._resolve(asked.listen)
        proxy = self.get(name)
        before = proxy.state()
        if _differs(proxy, where, asked.upstream):
            proxy.stop()
            proxy.listen = addresses.join_host_port(where[1])
            proxy.upstream = asked.upstream
        try:
            if asked.enabled:
                proxy.start(*where)
                self._end_outage(proxy, "api")
            else:
                cut_off = len(proxy.connections)
                proxy.stop()
                self._begin_outage(proxy, where, asked, cut_off)
        except ApiError:
            if self.around.deviations.failed_update_changes_nothing:
                proxy.restore(before)
            raise
        return proxy

    def remove(self, name: str) -> None:
        proxy = self.get(name)
        del self._by_name[name]
        self._discard(proxy, "proxy deleted")

    async def reset(self) -> None:
        """Removes every toxic and enables every proxy; raises the first error, after all."""
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

    def _asked(self, fields: Fields, which: str) -> Asked:
        asked = Asked(
            fields.text("name"),
            fields.text("listen"),
            fields.text("upstream"),
            fields.flag("enabled", True),
        )
        if not asked.name:
            raise MissingField(f"name{which}")
        if not asked.upstream:
            raise MissingField(f"upstream{which}")
        return asked

    async def _resolve(self, listen: str) -> tuple[int, addresses.Address]:
        if not listen:  # Go listens on a free port then
            listen = ":0"
        loopback_only = self.around.deviations.loopback_only
        return await addresses.resolve(listen, loopback_only=loopback_only)

    def _put(self, asked: Asked, where: tuple[int, addresses.Address] | None) -> Proxy:
        proxy = Proxy(self.around, asked.name, asked.listen, asked.upstream)
        if asked.enabled and where is not None:
            proxy.start(*where)
        self._by_name[asked.name] = proxy
        return proxy

    def _replace(
        self, existing: Proxy | None, asked: Asked, where: tuple[int, addresses.Address]
    ) -> Proxy:
        if existing is None:
            return self._put(asked, where)
        before = existing.state()
        existing.stop()  # it may hold the very port that the new one wants
        try:
            proxy = self._put(asked, where)
        except ApiError:
            if self.around.deviations.failed_update_changes_nothing:
                existing.restore(before)
            raise
        self._discard(existing, "proxy replaced")
        return proxy

    async def _enable(self, proxy: Proxy, by: str) -> None:
        if not proxy.enabled:
            proxy.start(*await self._resolve(proxy.listen))
        self._end_outage(proxy, by)

    def _begin_outage(
        self, proxy: Proxy, where: tuple[int, addresses.Address], asked: Asked, cut_off: int
    ) -> None:
        if not self.around.deviations.extras:
            return
        ttl_s, now = asked.ttl_s, time.time()
        if proxy.outage is None and asked.outage is not None:
            proxy.outage = asked.outage
            proxy.outage.effective_at = now
            proxy.outage.affected = proxy.outage.hits = cut_off
            self.around.tell("effective", proxy.name, proxy.outage, {"ttl_s": ttl_s})
        if ttl_s is None or proxy.outage is None:
            return
        if proxy.outage_alarm is not None:
            proxy.outage_alarm.cancel()
        proxy.outage.expires_at = now + ttl_s
        alarms = self.around.alarms

        def expire() -> None:
            try:
                proxy.start(*where)
            except ApiError:  # somebody took the port meanwhile: an outage still must end
                proxy.outage_alarm = alarms.at(alarms.now_s() + OUTAGE_RETRY_S, expire)
            else:
                self._end_outage(proxy, "ttl")

        proxy.outage_alarm = alarms.at(alarms.now_s() + ttl_s, expire)

    def _end_outage(self, proxy: Proxy, by: str) -> None:
        if proxy.outage_alarm is not None:
            proxy.outage_alarm.cancel()
            proxy.outage_alarm = None
        if proxy.outage is not None:
            proxy.outage.removed(by)
            shown = {"proxy": proxy.name, "type": "down", "breakwater": proxy.outage.view()}
            self.around.removed.append(shown)
            self.around.tell("removed", proxy.name, proxy.outage, {})
            proxy.outage = None

    def _discard(self, proxy: Proxy, by: str) -> None:
        proxy.stop()
        proxy.remove_all(by)
        self._end_outage(proxy, by)


def _differs(proxy: Proxy, where: tuple[int, addresses.Address], upstream: str) -> bool:
    return (proxy.listen, proxy.upstream) != (addresses.join_host_port(where[1]), upstream)
