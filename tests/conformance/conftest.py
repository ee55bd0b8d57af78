"""Runs every test of this folder once per service of topology.toml. A new service is tested without changes."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from lab import topology
from tests.conformance.subject import Check, Conforms, Subject
from tests.fixtures.running import Running

SERVICES = sorted(topology.load().services)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", SERVICES)


@pytest.fixture
async def subject(running: Running, name: str) -> AsyncIterator[Subject]:
    # the suite guesses more tokens than an address may
    service = await running(name, REFUSED_BURST="10000")
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(10)) as http:
        yield Subject(service, http)


@pytest.fixture
def conforms(subject: Subject, subtests: pytest.Subtests) -> Conforms:
    """`await conforms(check, ...)`: runs each check as a subtest on the same running service."""

    async def run(*checks: Check) -> None:
        for check in checks:
            with subtests.test(check.__name__.replace("_", " ")):
                await check(subject)

    return run
