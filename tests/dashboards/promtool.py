"""Prometheus and its promtool for the tests: from PATH, else unpacked from Debian's package."""

import functools
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from .reading import PROJECT

CACHE = PROJECT / ".lab" / "cache" / "prometheus"


def program(name: str) -> Path:
    """`prometheus` or `promtool`; the test is skipped where they cannot be had."""
    folder = _folder()
    if folder is None:
        pytest.skip(f"{name} is NOT tested: it is neither on PATH nor in Debian's packages here")
    return folder / name


@functools.cache
def _folder() -> Path | None:
    found = shutil.which("prometheus")
    if found and shutil.which("promtool"):
        return Path(found).parent
    unpacked = CACHE / "usr" / "bin"
    if not (unpacked / "promtool").exists() and shutil.which("apt-get") and shutil.which("dpkg"):
        _unpack()
    return unpacked if (unpacked / "promtool").exists() else None


def _unpack() -> None:
    """Beside the others that may be doing the same: each in a folder of its own, the first one stays."""
    mine = CACHE.with_name(f"prometheus.{os.getpid()}")
    mine.mkdir(parents=True, exist_ok=True)
    download = ["apt-get", "download", "-o", "APT::Sandbox::User=", "prometheus"]
    got = subprocess.run(download, cwd=mine, capture_output=True, timeout=60)
    for package in mine.glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, mine], check=True, capture_output=True)
        package.unlink()
    if got.returncode == 0 and not CACHE.exists():
        mine.rename(CACHE)
    else:
        shutil.rmtree(mine)
