"""The CPU time of child processes, as the kernel counts it."""

import subprocess
import sys

import pytest

from chassis.telemetry.children_cpu import NAME, children_cpu_s
from chassis.telemetry.metrics import exposition
from tests.fixtures.waiting import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux' own")


def test_the_cpu_time_of_a_child_is_counted_while_it_lives() -> None:
    before = children_cpu_s()
    assert before is not None
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as child:
        try:
            wait_until(lambda: (children_cpu_s() or 0.0) >= before + 0.2, "0.2 s of CPU time", 20)
            assert f"{NAME} " in exposition("")[0].decode()
        finally:
            child.kill()
    assert (children_cpu_s() or 0.0) < before + 0.2
