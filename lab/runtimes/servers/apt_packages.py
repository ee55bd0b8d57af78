"""Unpacks programs from the distribution's packages (Debian, Ubuntu) into the lab's folder; installs nothing."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from lab.runtimes.servers.binaries import ServerMissingError
from lab.topology import PROJECT

CACHE = PROJECT / ".lab" / "packages"
DOWNLOAD_S = 120
# observer: its package and the program in it
# (not Alertmanager: it reads its package's templates below /usr/share only)
PACKAGES = {"prometheus": ("prometheus", "usr/bin/prometheus")}


def program(name: str, cache: Path = CACHE) -> Path | None:
    """The unpacked program of an observer, None if it has not been unpacked."""
    if name not in PACKAGES:
        return None
    package, path = PACKAGES[name]
    found = cache / package / path
    return found if os.access(found, os.X_OK) else None


def unpack(name: str, cache: Path = CACHE) -> Path:
    """Download and unpack an observer's package (10-20 MB, a few seconds), unless it is unpacked already.

    Raises ServerMissingError.
    """
    if found := program(name, cache):
        return found
    package, path = PACKAGES[name]
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        raise ServerMissingError(
            f"{name}: not found, and this system has no apt-get and dpkg to unpack its package: install "
            f"it on PATH, or set LAB_{name.upper()}=/path/to/{name}"
        )
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=f".{package}-") as folder:
        _run(["apt-get", "download", "-qq", package], folder, name, package)
        (archive,) = Path(folder).glob("*.deb")
        _run(["dpkg", "-x", str(archive), "tree"], folder, name, package)
        there = cache / package
        shutil.rmtree(there, ignore_errors=True)  # an incomplete one
        (Path(folder) / "tree").rename(there)
    return there / path


def _run(argv: list[str], folder: str, name: str, package: str) -> None:
    try:
        done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=DOWNLOAD_S)
    except subprocess.TimeoutExpired:
        raise ServerMissingError(f"{name}: `{' '.join(argv)}` took over {DOWNLOAD_S} s") from None
    if done.returncode != 0:
        reason = done.stderr.strip()[-200:]
        raise ServerMissingError(
            f"{name}: the package {package} could not be downloaded or unpacked ({reason}); try "
            f"`apt-get update`, or install it, or set LAB_{name.upper()}=/path/to/{name}"
        )
