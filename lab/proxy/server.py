"""The composition root: builds the timers, the proxies and the API."""

import asyncio
from collections import deque
from dataclasses import dataclass

from aiohttp import web

from lab.proxy.api.routes import Api
from lab.proxy.data_path import addresses
from lab.proxy.data_path.memory import Memory
from lab.proxy.data_path.names import Names
from lab.proxy.data_path.timers import Timers
from lab.proxy.deviations import OURS, Deviations
from lab.proxy.fault_log import ignore_fault, log_fault
from lab.proxy.proxies import Proxies
from lab.proxy.proxy import ProxyContext

REMOVED_KEPT = 1000


@dataclass(frozen=True, slots=True)
class Settings:
    """`config` is the content of a file with the array that /populate takes."""

    seed: int
    host: str = "localhost"
    port: int = 8474
    deviations: Deviations = OURS
    token: str | None = None
    config: bytes | None = None
    log_faults: bool = False


class Server:
    """`start` raises ApiError when the API or a configured proxy cannot listen."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._timers = Timers(self._loop)
        context = ProxyContext(
            loop=self._loop,
            timers=self._timers,
            deviations=settings.deviations,
            seed=settings.seed,
            removed=deque(maxlen=REMOVED_KEPT),
            names=Names(),
            memory=Memory(),
            on_fault=log_fault if settings.log_faults else ignore_fault,
        )
        self.proxies = Proxies(context)
        self._runner: web.AppRunner | None = None
        self.address = ""  # host:port of the API once started

    async def start(self) -> None:
        settings = self._settings
        if settings.config is not None:
            _, error = await self.proxies.populate(settings.config)
            if error is not None:
                raise error
        api = Api(self.proxies, settings.token)
        # access logs would repeat what the fault records contain
        self._runner = web.AppRunner(api.app(), access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        where = f"{settings.host}:{settings.port}"
        loopback_only = settings.deviations.loopback_only
        names = self.proxies.context.names
        address = await addresses.resolve(where, names, loopback_only=loopback_only)
        sock = addresses.listen(*address)
        await web.SockSite(self._runner, sock).start()
        self.address = addresses.join_host_port(sock.getsockname())

    async def close(self) -> None:
        """Removes every toxic, closes every connection and the API."""
        self.proxies.close()
        if self._runner is not None:
            await self._runner.cleanup()
        self._timers.close()
