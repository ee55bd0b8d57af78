"""Exit codes of the commands about runs: an expected error becomes one message on stderr and an exit code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from lab.chaos.experiment.loader import UnknownExperimentError
from lab.chaos.experiment.yaml_lines import MalformedFileError
from lab.chaos.faults.errors import FaultRefusedError, UnknownTargetError
from lab.chaos.running_lab import StateError
from lab.load.profiles import ProfileError
from lab.run.children.locust import LoadFailedError
from lab.run.evidence.recorder_client import RecorderRefusedError

FAILED = 1
USAGE = 2
INVALID = 3
WRONG_USAGE = (
    UnknownExperimentError,
    MalformedFileError,
    ProfileError,
    UnknownTargetError,
    FaultRefusedError,
)
NOT_POSSIBLE = (StateError, RecorderRefusedError, LoadFailedError)


@contextmanager
def clear_exits(cannot: int = INVALID) -> Iterator[None]:
    """Exit 2 for wrong usage, `cannot` for what is not possible now, 3 (invalid) after Ctrl-C."""
    try:
        yield
    except WRONG_USAGE as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(USAGE) from None
    except NOT_POSSIBLE as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(cannot) from None
    except KeyboardInterrupt:
        typer.echo("stopped; armed faults end at their TTL", err=True)
        raise typer.Exit(INVALID) from None
