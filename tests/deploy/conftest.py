"""The fixture `jaeger`: a real Jaeger, where one is installed."""

from collections.abc import Iterator

import pytest

from lab.runtimes.servers import observers
from tests.deploy.observability import Jaeger, free_ports, get, running, until


@pytest.fixture(scope="session")
def jaeger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jaeger]:
    """The lab's own Jaeger, started as the lab starts it; skips where none is installed."""
    if observers.find("jaeger") is None:
        pytest.skip("no jaeger on PATH, and LAB_JAEGER names none")
    page, otlp = free_ports(2)
    command = observers.jaeger(page, otlp)
    log = tmp_path_factory.mktemp("jaeger") / "jaeger.log"
    with running(command.argv, command.env, log):
        until(lambda: get(f"http://127.0.0.1:{page}/api/services"), "Jaeger answers")
        yield Jaeger(page, otlp)
