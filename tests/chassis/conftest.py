"""The fixtures `echo`, a service in this process, and `subject`, a process to inject faults into."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import aiohttp
import pytest
import uvicorn

from chassis.settings import Settings
from tests.chassis import echo_app
from tests.chassis.echo import LAB_TOKEN, SECRET, Echo
from tests.chassis.subject import Subject
from tests.fixtures.servers import free_port
from tests.fixtures.waiting import wait_until_async


@pytest.fixture
async def echo(
    nats: str, database: Callable[[str], str], request: pytest.FixtureRequest
) -> AsyncIterator[Echo]:
    """`@pytest.mark.parametrize("echo", [{...settings}], indirect=True)` changes settings."""
    port = free_port()
    settings = {
        "service": "echo", "instance": "echo-1", "port": port, "advertise": f"127.0.0.1:{port}",
        "service_secret": SECRET, "nats_url": nats, "lab_token": LAB_TOKEN,
        "database_url": database("echo"),
    } | getattr(request, "param", {})  # fmt: skip
    echo_app.app.state.settings = Settings(**settings)
    config = uvicorn.Config(echo_app.app, port=port, log_config=None, lifespan="on")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    try:
        await wait_until_async(lambda: server.started or serving.done(), "the echo service", 30)
        assert server.started, "the echo service did not start"
        async with aiohttp.ClientSession() as http:
            yield Echo(f"http://127.0.0.1:{port}", echo_app.app.state.service, http)
    finally:
        server.should_exit = True
        await serving


@pytest.fixture(scope="module")
def shared_subject(new_subject: Callable[..., Subject]) -> Subject:
    subject = new_subject()
    subject.start()
    return subject


@pytest.fixture
def subject(shared_subject: Subject) -> Iterator[Subject]:
    """One process for the whole module. After each test no fault and no residue must be left."""
    yield shared_subject
    shared_subject.clear()
    assert shared_subject.left() == []
