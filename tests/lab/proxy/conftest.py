"""Fixtures of the proxy's tests: one process for all tests, wiped after each."""

from collections.abc import Iterator

import pytest

from tests.lab.proxy.rig import ProxyProcess, Upstream, echo, idle, running


@pytest.fixture(scope="session")
def proxy_process() -> Iterator[ProxyProcess]:
    with running() as process:
        yield process


@pytest.fixture(scope="session")
def strict_process() -> Iterator[ProxyProcess]:
    with running("--strict") as process:
        yield process


@pytest.fixture
def lab(proxy_process: ProxyProcess) -> Iterator[ProxyProcess]:
    """Ours, with its deviations."""
    yield proxy_process
    proxy_process.clear()


@pytest.fixture
def strict(strict_process: ProxyProcess) -> Iterator[ProxyProcess]:
    """As Toxiproxy."""
    yield strict_process
    strict_process.clear()


@pytest.fixture
def echoing() -> Iterator[Upstream]:
    upstream = Upstream(echo)
    yield upstream
    upstream.close()


@pytest.fixture
def idling() -> Iterator[Upstream]:
    """An upstream whose side of each connection the test plays."""
    upstream = Upstream(idle)
    yield upstream
    upstream.close()
