"""One real lab for the whole session: all services and servers, with its own ports and folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.runtimes.processes.runtime import ProcessesRuntime
from lab.topology import DEFAULT_PATH
from tests.fixtures.labs import free_port_base

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("alone")


@pytest.fixture(scope="session")
def session_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessesRuntime]:
    """The lab, started once. LAB_DIR and LAB_PORT_BASE select it for commands too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAB_DIR", str(tmp_path_factory.mktemp("labs")))
        runtime = ProcessesRuntime(free_port_base(DEFAULT_PATH))
        patch.setenv("LAB_PORT_BASE", str(runtime.port_base))
        runtime.up()
        try:
            yield runtime
        finally:
            runtime.down()


@pytest.fixture
def lab(session_lab: ProcessesRuntime) -> Iterator[ProcessesRuntime]:
    """The running lab, all ready, with the topology's replicas. After the test, stopped processes start again."""
    yield session_lab
    session_lab.up()


@pytest.fixture
def shop(lab: ProcessesRuntime) -> str:
    """The public API's base URL."""
    return lab.address("ingress") + "/api"
