"""Finds promtool for the tests: on PATH, or beside the lab's own Prometheus from Debian's package."""

import functools
import shutil
from pathlib import Path

import pytest

from lab.runtimes.servers.apt_packages import unpack
from lab.runtimes.servers.binaries import ServerMissingError


@functools.cache
def promtool() -> Path:
    """The path of promtool. Skips the test if there is none."""
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
