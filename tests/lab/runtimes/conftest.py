"""A lab of stub services for the tests that may share one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.runtimes.base import UpOptions
from lab.runtimes.processes.runtime import ProcessesRuntime
from tests.fixtures.labs import stub_runtime


@pytest.fixture
def lab_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Labs of this test live in its own folder."""
    monkeypatch.setenv("LAB_DIR", str(tmp_path / "labs"))
    monkeypatch.delenv("LAB_PORT_BASE", raising=False)
    return tmp_path / "labs"


@pytest.fixture(scope="module")
def stub_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessesRuntime]:
    """A lab for the module; each test leaves it ready, with the replicas that it found."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAB_DIR", str(tmp_path_factory.mktemp("labs")))
        runtime = stub_runtime()
        runtime.up(UpOptions(restart_delay_s=0.2))
        try:
            yield runtime
        finally:
            runtime.down()
