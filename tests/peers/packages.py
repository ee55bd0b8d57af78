"""Installs the published packages of the peers with go, pip and npm."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

TOXIPROXY = "github.com/Shopify/toxiproxy/v2/cmd/server@v2.12.0"
PYTHON_CLIENTS = ("toxiproxy-python==0.1.1", "chaostoolkit", "chaostoolkit-toxiproxy==0.3.1")
# toxiproxy-python is from 2019: its build needs pkg_resources
BUILD_TOOLS = ("setuptools<80", "wheel", "pytest-runner", "pytest")
NODE_CLIENT = "toxiproxy-node-client@4.1.0"


class MissingToolError(Exception):
    """A program that installs or runs a peer is not on PATH."""


def toxiproxy(folder: Path) -> Path:
    """Builds Toxiproxy's server from the Go module proxy; returns the program."""
    _install("go", ["install", TOXIPROXY], env={"GOBIN": str(folder)})
    return folder / "server"


@functools.cache
def python_clients(folder: Path) -> Path:
    """Installs the Python clients and the Chaos Toolkit in a virtual environment; returns its Python."""
    python = folder / "venv" / "bin" / "python"
    _install(sys.executable, ["-m", "venv", str(folder / "venv")])
    pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _install(str(python), [*pip, *BUILD_TOOLS])
    _install(str(python), [*pip, "--no-build-isolation", *PYTHON_CLIENTS])
    return python


def node_client(folder: Path) -> Path:
    """Installs the Node client; returns the folder with node_modules."""
    home = folder / "node"
    home.mkdir(exist_ok=True)
    _install(
        "npm",
        ["install", "--silent", "--no-audit", "--no-fund", "--prefix", str(home), NODE_CLIENT],
    )
    return home


def find(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        raise MissingToolError(f"{program} is not on PATH")
    return path


def _install(program: str, arguments: list[str], env: dict[str, str] | None = None) -> None:
    command = [find(program), *arguments]
    subprocess.run(command, check=True, env={**os.environ, **(env or {})}, timeout=600)
