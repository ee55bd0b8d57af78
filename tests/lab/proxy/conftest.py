"""Fixtures of the proxy's tests: one process for all tests, cleared after each."""

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
    """Our proxy with its deviations."""
    yield proxy_process
    proxy_process.clear()


@pytest.fixture
def strict(strict_process: ProxyProcess) -> Iterator[ProxyProcess]:
    """Our proxy with --strict."""
    yield strict_process
    strict_process.clear()


@pytest.fixture
def echoing() -> Iterator[Upstream]:
    upstream = Upstream(echo)
    yield upstream
    upstream.close()


@pytest.fixture
def idling() -> Iterator[Upstream]:
    """An upstream whose connections the test uses itself."""
    upstream = Upstream(idle)
    yield upstream
    upstream.close()
