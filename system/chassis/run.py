"""Runs one instance of one service: `python -m chassis.run orders`, or `serve("orders")` in a forked child."""

import asyncio
import gc
import importlib
import os
import sys
from contextlib import suppress
from types import FrameType

import uvicorn
from fastapi import FastAPI

from chassis.background import until_beat_s
from chassis.one_write import OneWriteProtocol
from chassis.settings import SettingError, Settings

APP = "shop.{name}.app"
DRAIN_S = 2
# Threads of uvloop; half of them may resolve names. A look-up without an answer blocks its thread for 10 s, also
# after the caller gave up. With the default of 4, a dead broker blocked the look-up of all other names.
LOOP_THREADS = "16"
DATE_S = 1.0  # the resolution of the header `Date`
UNREGISTERED_S = 0.05  # wait for requests that were sent before the instance left the registry


class Server(uvicorn.Server):
    """uvicorn that leaves the registry before it stops listening, and waits without polling."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app
        self._stopping: asyncio.Task[None] | None = None
        self._ending = asyncio.Event()

    async def main_loop(self) -> None:
        """Wait for the end, and renew the header `Date`. uvicorn's own loop looks ten times a second."""
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                async with asyncio.timeout(until_beat_s(DATE_S)):
                    await self._ending.wait()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._stopping is not None:  # the second signal stops at once
            self._end(sig, frame)
            return
        self._stopping = asyncio.get_running_loop().create_task(self._stop(sig, frame))

    async def _stop(self, sig: int, frame: FrameType | None) -> None:
        service = getattr(self._app.state, "service", None)
        if service is not None:
            await service.unregister()
            await asyncio.sleep(UNREGISTERED_S)
        self._end(sig, frame)

    def _end(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._ending.set()


def serve(name: str) -> int:
    """Serve until SIGTERM, with settings from the environment.

    Returns the exit code: 0, 2 for a wrong setting, 3 if the start failed.
    """
    try:
        settings = Settings.from_env({"SERVICE": name, **os.environ})
    except SettingError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    app = importlib.import_module(APP.format(name=name)).app
    app.state.settings = settings
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=OneWriteProtocol,
        log_config=None,
        access_log=False,
        lifespan="on",
        timeout_keep_alive=75,
        timeout_graceful_shutdown=DRAIN_S,
        server_header=False,
        proxy_headers=False,
    )
    server = Server(config, app)
    os.environ.setdefault("UV_THREADPOOL_SIZE", LOOP_THREADS)
    gc.collect()
    gc.freeze()  # start-up objects live as long as the process: the collector need not scan them
    # Only errors leave cycles. With the default, 2,000, looking for them took 3% of the CPU of a request.
    gc.set_threshold(20_000, 20, 100)
    server.run()
    return 0 if server.started else 3


def main() -> None:
    if len(sys.argv) != 2 or not sys.argv[1].isidentifier():
        print("Usage: python -m chassis.run SERVICE, for example orders", file=sys.stderr)
        raise SystemExit(2)
    raise SystemExit(serve(sys.argv[1]))


if __name__ == "__main__":
    main()
