"""One proxied lab of stub services that all call each other, for every test of edges."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from lab.chaos.faults.clear_all import disarm
from lab.chaos.faults.client import FaultClient
from lab.chaos.running_lab import RunningLab
from lab.proxy.client import ProxyClient
from lab.runtimes.base import UpOptions
from lab.runtimes.processes.runtime import ProcessesRuntime
from tests.lab.runtimes.labs import MESH, free_port_base


@pytest.fixture(scope="session")
def session_mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessesRuntime]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAB_DIR", str(tmp_path_factory.mktemp("labs")))
        runtime = ProcessesRuntime(free_port_base(MESH), MESH)
        patch.setenv("LAB_PORT_BASE", str(runtime.port_base))
        runtime.up(UpOptions(proxied=True, restart_delay_s=0.2))
        try:
            yield runtime
        finally:
            runtime.down()


@pytest.fixture
def mesh(session_mesh: ProcessesRuntime, control: FaultClient) -> ProcessesRuntime:
    """Up and without faults; `lab` commands and actions find it."""
    return session_mesh


@pytest.fixture
def client(session_mesh: ProcessesRuntime) -> ProxyClient:
    """Of the proxy's API."""
    lab = session_mesh.lab
    return ProxyClient(urlsplit(lab.addresses["proxy"]).netloc, lab.proxy_token)


@pytest.fixture
def control(session_mesh: ProcessesRuntime) -> Iterator[FaultClient]:
    """The lab's hand on it; whatever a test leaves is taken off."""
    yield FaultClient(RunningLab(session_mesh.lab))
    assert disarm(RunningLab(session_mesh.lab)).problems == []
