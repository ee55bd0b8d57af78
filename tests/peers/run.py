"""Runs the fault proxy against other projects: `make verify-peers`, or `python -m tests.peers.run`.

Without options it installs the peers' published packages into .lab/peers (with go, pip and npm) and runs:
    toxiproxy                the same requests to Toxiproxy and to ours with --strict: equal answers
    toxiproxy-python         python_client.py: calls of that client
    toxiproxy-node-client    node_client.js: calls of that client
    chaostoolkit-toxiproxy   `chaos run chaostoxi.json`: every action of that extension
A peer whose program (go, npm, node) is missing is skipped.

The packages do not contain the test suites of the clients. To run those too, name a checkout of each,
installed as its README describes: --toxiproxy-python DIR, --toxiproxy-node-client DIR.
Every client uses port 8474. No file of the peers is stored here, and none is changed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.peers import packages

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FOLDER = ROOT / ".lab" / "peers"
PORT = "8474"


class Check(NamedTuple):
    """`command` installs what it needs and returns the command line and its extra environment."""

    name: str
    command: Callable[[], tuple[list[str], dict[str, str]]]
    folder: Path = HERE
    needs_server: bool = True


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--toxiproxy-python", type=Path, metavar="DIR")
    parser.add_argument("--toxiproxy-node-client", type=Path, metavar="DIR")
    parser.add_argument("--strict", action="store_true", help="start our server with --strict")
    options = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    results = {check.name: run(check, options.strict) for check in checks(options)}
    for name, result in results.items():
        print(f"{result:8} {name}")
    return 1 if any(result.startswith("failed") for result in results.values()) else 0


def checks(options: argparse.Namespace) -> list[Check]:
    chosen = [
        Check("toxiproxy", differential, ROOT, needs_server=False),
        Check("toxiproxy-python", python_client),
        Check("toxiproxy-node-client", node_client),
        Check("chaostoolkit-toxiproxy", chaos_run),
    ]
    if options.toxiproxy_python is not None:
        folder = options.toxiproxy_python.resolve()
        chosen.append(Check("toxiproxy-python's suite", lambda: pytest_suite(folder), folder))
    if options.toxiproxy_node_client is not None:
        folder = options.toxiproxy_node_client.resolve()
        chosen.append(Check("toxiproxy-node-client's suite", jest_suite, folder))
    return chosen


def differential() -> tuple[list[str], dict[str, str]]:
    server = packages.toxiproxy(FOLDER)
    return [sys.executable, "-m", "tests.peers.differential", str(server)], {}


def python_client() -> tuple[list[str], dict[str, str]]:
    return [str(packages.python_clients(FOLDER)), "python_client.py"], {}


def node_client() -> tuple[list[str], dict[str, str]]:
    home = packages.node_client(FOLDER)
    return [packages.find("node"), "node_client.js"], {"NODE_PATH": str(home / "node_modules")}


def chaos_run() -> tuple[list[str], dict[str, str]]:
    python = packages.python_clients(FOLDER)
    line = [
        str(python),
        "-m",
        "chaostoolkit",
        "--no-version-check",
        "--log-file",
        os.devnull,
        "run",
    ]
    return [*line, "--journal-path", str(FOLDER / "journal.json"), "chaostoxi.json"], {}


def pytest_suite(folder: Path) -> tuple[list[str], dict[str, str]]:
    python = packages.python_clients(FOLDER)
    return [str(python), "-m", "pytest", "-q"], {"PYTHONPATH": str(folder)}


def jest_suite() -> tuple[list[str], dict[str, str]]:
    return [packages.find("npx"), "--no-install", "jest", "--runInBand"], {}


def run(check: Check, strict: bool) -> str:
    """Runs a check with its own server, so that no state passes from one check to the next."""
    print(f"== {check.name}", flush=True)
    try:
        command, env = check.command()
    except packages.MissingToolError as error:
        return f"skipped: {error};"
    if not check.needs_server:
        return passed(command, env, check.folder)
    line = [sys.executable, "-m", "lab.proxy", "--port", PORT, "--seed", "1"]
    server = subprocess.Popen(
        [*line, *(["--strict"] if strict else [])], cwd=ROOT, stdout=subprocess.PIPE
    )
    try:
        assert server.stdout is not None
        if not server.stdout.readline():
            return f"failed: our server did not start; is port {PORT} in use?"
        return passed(command, env, check.folder)
    finally:
        server.terminate()
        server.wait()


def passed(command: list[str], env: dict[str, str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, env={**os.environ, **env}, timeout=300, check=False)
    return "passed" if done.returncode == 0 else "failed"


if __name__ == "__main__":
    sys.exit(main())
