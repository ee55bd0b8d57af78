"""Chooses the runtime of a lab: the runtime that the lab runs on, else the requested one, else processes."""

from __future__ import annotations

from pathlib import Path

from lab import topology as topologies
from lab.runtimes.base import Runtime
from lab.runtimes.compose import ENV_FILE
from lab.runtimes.processes.runtime import ProcessesRuntime
from lab.runtimes.supervisor.client import UsageError
from lab.state import StateError, home_of

NAMES = ("processes", "compose")


class OtherRuntimeError(StateError):
    """A lab of another runtime is up at this port base."""

    exit_code = 2


def runtime_of(
    port_base: int, wanted: str = "", topology: Path = topologies.DEFAULT_PATH, profile: str = ""
) -> Runtime:
    """The runtime of the lab at `port_base`; `wanted` (of NAMES) where none is up.

    `profile` is for compose only. Raises OtherRuntimeError, UsageError.
    """
    running = _running_on(home_of(port_base))
    if wanted and running and wanted != running:
        raise OtherRuntimeError(
            f"the lab at port base {port_base} runs on {running}: `lab down` first, or another --port-base"
        )
    if (running or wanted) == "compose":
        from lab.runtimes.compose.runtime import ComposeRuntime  # imported only where it is used

        return ComposeRuntime(port_base, topology, profile or "full")
    if profile:
        raise UsageError(f"--profile {profile}: profiles are for --runtime compose")
    return ProcessesRuntime(port_base, topology)


def _running_on(home: Path) -> str:
    """The runtime of the lab in `home`, "" if no lab is up."""
    if (home / ENV_FILE).is_file():
        return "compose"
    return "processes" if (home / "lab.json").is_file() else ""
