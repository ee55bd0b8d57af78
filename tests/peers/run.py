"""Runs other projects' own client suites against our server on port 8474, given checkouts.

    python tests/peers/run.py --toxiproxy-python DIR --toxiproxy-node-client DIR \\
                              --chaostoolkit-toxiproxy DIR

Each DIR is a checkout that was installed as its README says (its dependencies are needed: for
Python ones in the interpreter named by --python, for the Node one in its node_modules). Nothing
of theirs is kept here, and none of their files is changed. Every suite talks to port 8474.

toxiproxy-python and toxiproxy-node-client test against a live server, so they test ours.
chaostoolkit-toxiproxy's own suite mocks HTTP and would test nothing of ours: in its place an
unmodified `chaos run` runs tests/peers/chaostoxi.json, an experiment of ours made of its actions.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from lab.topology import PROJECT

ROOT = PROJECT
HERE = Path(__file__).parent
PORT = "8474"


def main() -> int:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--toxiproxy-python", type=Path)
    options.add_argument("--toxiproxy-node-client", type=Path)
    options.add_argument("--chaostoolkit-toxiproxy", type=Path)
    options.add_argument("--python", default=sys.executable, help="has the suites' dependencies")
    options.add_argument("--strict", action="store_true", help="run our server with --strict")
    arguments = options.parse_args()
    suites = []
    if arguments.toxiproxy_python:
        pytest = [arguments.python, "-m", "pytest", "-q"]
        suites.append(("toxiproxy-python", arguments.toxiproxy_python, pytest))
    if arguments.toxiproxy_node_client:
        jest = ["npx", "--no-install", "jest", "--runInBand"]
        suites.append(("toxiproxy-node-client", arguments.toxiproxy_node_client, jest))
    if arguments.chaostoolkit_toxiproxy:
        checkout = arguments.chaostoolkit_toxiproxy
        journal = str(Path(tempfile.mkdtemp()) / "journal.json")
        chaos = [arguments.python, "-m", "chaostoolkit", "--no-version-check", "run"]
        chaos += ["--journal-path", journal, str(HERE / "chaostoxi.json")]
        suites.append(("chaostoolkit-toxiproxy", checkout, chaos))
    if not suites:
        options.error("give at least one checkout")
    failed = [
        name for name, where, command in suites if not passes(name, where, command, arguments)
    ]
    print(f"{len(suites) - len(failed)} of {len(suites)} suites passed; failed: {failed or 'none'}")
    return 1 if failed else 0


def passes(name: str, where: Path, command: list[str], arguments: argparse.Namespace) -> bool:
    """Runs one suite with a server of its own, so that no state goes from one to the next."""
    print(f"== {name}: {' '.join(command)}", flush=True)
    line = [sys.executable, "-m", "lab.proxy", "--port", PORT, "--seed", "1"]
    line += ["--strict"] if arguments.strict else []
    server = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        if not server.stdout.readline():
            print("our server did not start: is port 8474 taken?")
            return False
        env = {**os.environ, "PYTHONPATH": str(where)}
        return subprocess.run(command, cwd=where, env=env, timeout=300, check=False).returncode == 0
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    sys.exit(main())
