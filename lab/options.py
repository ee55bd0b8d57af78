"""Options that several commands share, and output: tables for people, one JSON object with --json."""

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lab.nearest import nearest
from lab.runtimes.base import Runtime
from lab.runtimes.choose import NAMES, runtime_of
from lab.runtimes.supervisor.client import UsageError
from lab.state import chosen_port_base

if TYPE_CHECKING:
    from rich.console import Console

PortBase = Annotated[
    int | None,
    typer.Option(help="The lab's lowest port. Default: LAB_PORT_BASE, the newest lab, 8080."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


RuntimeName = Annotated[
    str, typer.Option("--runtime", help=f"Where the lab runs: {' or '.join(NAMES)} (Docker).")
]


def runtime(port_base: int | None) -> Runtime:
    """The runtime of the chosen lab. Raises StateError for an invalid port base."""
    return runtime_of(chosen_port_base(port_base))


def checked_runtime(name: str) -> str:
    """A runtime's name as typed, or "". Raises UsageError."""
    if name and name not in NAMES:
        raise UsageError(f"runtime {name!r}{nearest(name, NAMES)}")
    return name


def print_json(content: Any) -> None:
    print(json.dumps(content, indent=1))


def console() -> "Console":
    """Output for people, on stdout."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True)


def progress_console() -> "Console":
    """Progress, on stderr: stdout is for the result only."""
    from rich.console import Console

    return Console(file=sys.stderr, highlight=False)
