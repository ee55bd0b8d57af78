"""Which runtime a lab has: the one that was asked for, else the one that it runs on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lab import topology as topologies
from lab.runtimes.compose import ENV_FILE
from lab.runtimes.processes.runtime import ProcessesRuntime
from lab.state import StateError, home_of

if TYPE_CHECKING:
    from lab.runtimes.compose.runtime import ComposeRuntime

NAMES = ("processes", "compose")


class OtherRuntimeError(StateError):
    """A lab of another runtime is up there."""

    exit_code = 2


def runtime_of(
    port_base: int,
    wanted: str = "",
    topology: Path = topologies.DEFAULT_PATH,
    profile: str = "full",
) -> ProcessesRuntime | ComposeRuntime:
    """The runtime of the lab at `port_base`; `wanted` (of NAMES) where none is up. Raises OtherRuntimeError."""
    home = home_of(port_base)
    there = "compose" if (home / ENV_FILE).is_file() else ""
    if not there and (home / "lab.json").is_file():
        there = "processes"
    if wanted and there and wanted != there:
        raise OtherRuntimeError(
            f"the lab at port base {port_base} runs on {there}: `lab down` first, or another --port-base"
        )
    if (wanted or there) == "compose":
        from lab.runtimes.compose.runtime import ComposeRuntime  # only who uses it waits for it

        return ComposeRuntime(port_base, topology, profile)
    return ProcessesRuntime(port_base, topology)
