"""The fixture `recorder`: a recorder process with a port and a lab directory of its own."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.waiting import wait_until
from tests.lab.recorder.recorder_process import ROOT, RecorderProcess, is_up


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[RecorderProcess]:
    lab_dir = tmp_path / "lab"
    (lab_dir / "logs").mkdir(parents=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "lab.recorder", "--port", str(port), "--lab-dir", str(lab_dir)]
    path = os.pathsep.join([str(ROOT), str(ROOT / "system")])
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": path})
    running = RecorderProcess(port, lab_dir, process)
    running.scraping()
    try:
        wait_until(lambda: is_up(running), "the recorder answers", 30.0)
        yield running
    finally:
        process.kill()
        process.wait()
