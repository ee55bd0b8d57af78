"""Runs the command line of one lab of a checkout, apart from every other lab of the machine."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.runtimes.posix.ports import taken
from lab.topology import load as load_topology

PORT_BASES = range(11_000, 32_000, 1_000)
UP_S, DOWN_S = 180, 90


class LabFailedError(Exception):
    """A `lab` command ended with an unexpected exit code; the text has its last output."""


@dataclass(frozen=True)
class OwnLab:
    """The command line of one lab of a checkout, with its files in a folder."""

    checkout: Path
    folder: Path
    port_base: int

    def run(self, *words: str, timeout_s: float, codes: Iterable[int] = (0,)) -> str:
        """The output of `lab WORDS`. Raises LabFailedError for another exit code, TimeoutExpired."""
        env = {"LAB_DIR": str(self.folder)}
        code, out = run_lab(self.checkout, self.port_base, *words, timeout_s=timeout_s, env=env)
        if code not in codes:
            raise LabFailedError(f"lab {words[0]} ended with {code}: {out[-300:]}")
        return out


@contextmanager
def own_lab(checkout: Path, *options: str) -> Iterator[OwnLab]:
    """A lab that `lab up OPTIONS` starts in a new folder; stopped and deleted at the end. Raises as OwnLab.run."""
    with tempfile.TemporaryDirectory(prefix="lab-") as folder:
        Path(folder).chmod(0o755)  # PostgreSQL does not run as root, and reads its data below
        lab = OwnLab(checkout, Path(folder), free_port_base())
        try:
            lab.run("up", *options, timeout_s=UP_S)
            yield lab
        finally:
            lab.run("down", timeout_s=DOWN_S, codes=range(256))


def run_lab(
    checkout: Path,
    port_base: int,
    *words: str,
    timeout_s: float,
    env: Mapping[str, str] | None = None,
) -> tuple[int, str]:
    """`lab WORDS` of the checkout: its exit code and its output. SIGTERM if it is interrupted.

    Raises TimeoutExpired.
    """
    own_python = checkout / ".venv/bin/python"
    python = str(own_python) if own_python.exists() else sys.executable
    command = [python, "-m", "lab.cli", *words, "--port-base", str(port_base)]
    kept = {key: value for key, value in os.environ.items() if not key.startswith("LAB_")}
    paths = os.pathsep.join([str(checkout / "system"), str(checkout)])
    with subprocess.Popen(
        command, cwd=checkout, env={**kept, "PYTHONPATH": paths, **(env or {})},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as running:  # fmt: skip
        try:
            out, _ = running.communicate(timeout=timeout_s)
        except BaseException:
            running.terminate()  # it removes its faults before it ends
            raise
    return running.returncode, out


def free_port_base() -> int:
    topology = load_topology()
    for port_base in PORT_BASES:
        if not taken(topology.ports(port_base)):
            return port_base
    sys.exit("no free port base")
