"""Runs the command line of one lab of a checkout, apart from every other lab of the machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


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
    command = [sys.executable, "-m", "lab.cli", *words, "--port-base", str(port_base)]
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
