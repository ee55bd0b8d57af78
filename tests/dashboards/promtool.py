"""Prometheus' promtool for the tests: beside the lab's own Prometheus, from PATH or Debian's package."""

import functools
import shutil
from pathlib import Path

import pytest

from lab.runtimes.servers.apt_packages import unpack
from lab.runtimes.servers.binaries import ServerMissingError


@functools.cache
def promtool() -> Path:
    """The test is skipped where there is none."""
    if found := shutil.which("promtool"):
        return Path(found)
    try:
        beside = unpack("prometheus").with_name("promtool")
    except ServerMissingError as error:
        pytest.skip(f"queries are NOT parsed by Prometheus: {error}")
    if not beside.is_file():
        pytest.skip(
            f"queries are NOT parsed by Prometheus: no promtool beside it in {beside.parent}"
        )
    return beside
