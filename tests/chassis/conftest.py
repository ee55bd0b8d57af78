"""The echo service on real servers, in process, on a free port."""

import asyncio
import itertools
import json
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import jwt
import pytest
import uvicorn

from chassis.http.auth import ISSUER, USER_AUDIENCE, ServiceTokens
from chassis.service import Service
from chassis.settings import Settings
from lab.runtimes.servers import commands, databases
from tests.chassis import echo_app
from tests.chassis.subject import Subject
from tests.fixtures.running import Nursery
from tests.fixtures.servers import free_port, run_apart
from tests.fixtures.waiting import wait_until_async

SECRET = "a-secret-of-at-least-thirty-two-bytes"
LAB_TOKEN = "lab-token"


@dataclass
class Echo:
    """A running echo service and a client for it."""

    url: str
    service: Service
    http: aiohttp.ClientSession

    async def call(self, method: str, path: str, **options: Any) -> tuple[int, Any, Any]:
        async with self.http.request(method, self.url + path, **options) as answer:
            content = await answer.read()
            is_json = "json" in answer.headers.get("Content-Type", "")
            return answer.status, json.loads(content) if is_json else content, answer.headers

    @property
    def lab(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {LAB_TOKEN}"}

    def service_token(self, caller: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {ServiceTokens(caller, SECRET).mint('echo')}"}

    def user_token(self, key: Any, **claims: Any) -> dict[str, str]:
        body = {"iss": ISSUER, "aud": USER_AUDIENCE, "sub": "u1", "exp": 4102444800, **claims}
        token = jwt.encode(body, key, algorithm="EdDSA", headers={"kid": "k1"})
        return {"Authorization": f"Bearer {token}"}


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


_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def new_subject(
    nursery: Nursery,
    postgres: str,
    nats: str,
    valkey: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., Subject]]:
    """`new_subject(**env)`: an instance of its own database, not started yet; ended with the module."""
    made: list[Subject] = []
    port = int(postgres.rpartition(":")[2].partition("/")[0])
    names: list[str] = []

    def make(**env: str) -> Subject:
        name, password = f"subject_{next(_numbers)}", secrets.token_hex(16)
        run_apart(databases.ensure(postgres, {name: password}))
        names.append(name)
        url = commands.postgres_url(port, name, password, name)
        folder = tmp_path_factory.mktemp("subject")
        made.append(Subject(nursery, folder, url, nats, valkey, **env))
        return made[-1]

    yield make
    for subject in made:
        subject.end()
    for name in names:
        run_apart(databases.drop(postgres, name))


@pytest.fixture(scope="module")
def shared_subject(new_subject: Callable[..., Subject]) -> Subject:
    subject = new_subject()
    subject.start()
    return subject


@pytest.fixture
def subject(shared_subject: Subject) -> Iterator[Subject]:
    """One process for the whole module; after each test it is as if no fault had ever been."""
    yield shared_subject
    shared_subject.clear()
    assert shared_subject.left() == []
