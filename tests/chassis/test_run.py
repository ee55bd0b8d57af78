"""The server of a service waits without polling."""

import asyncio
import signal

import pytest
import uvicorn
from fastapi import FastAPI

from chassis import run
from tests.fixtures.waiting import wait_until_async


async def test_a_signal_ends_the_wait_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "until_beat_s", lambda _: 3600.0)
    app = FastAPI()
    config = uvicorn.Config(app, port=0, log_config=None, lifespan="off")
    server = run.Server(config, app)
    serving = asyncio.create_task(server.serve())
    await wait_until_async(lambda: server.started, "the server listens")
    server.handle_exit(signal.SIGTERM, None)
    server._captured_signals.clear()  # uvicorn raises them again at its end
    await wait_until_async(lambda: server.should_exit, "it left the registry")
    server._captured_signals.clear()
    await asyncio.wait_for(serving, 10)


async def test_the_header_date_is_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "until_beat_s", lambda _: 0.01)
    app = FastAPI()
    server = run.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"), app)
    serving = asyncio.create_task(server.serve())
    await wait_until_async(lambda: server.started, "the server listens")
    server.server_state.default_headers = []
    await wait_until_async(lambda: bool(server.server_state.default_headers), "a new date")
    server._end(signal.SIGTERM, None)
    server._captured_signals.clear()
    await serving
