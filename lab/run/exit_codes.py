"""How the commands of runs end when they cannot do what was asked: one clear message, the right exit code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from lab.chaos.experiment.loader import UnknownExperimentError
from lab.chaos.experiment.yaml_lines import MalformedFileError
from lab.chaos.faults.client import FaultRefused, UnknownTarget
from lab.chaos.running_lab import StateError
from lab.load.profiles import ProfileError
from lab.run.children.load_process import LoadFailedError
from lab.run.evidence.recorder_client import RecorderRefusedError

FAILED = 1
USAGE = 2
INVALID = 3
ASKED_WRONGLY = (
    UnknownExperimentError,
    MalformedFileError,
    ProfileError,
    UnknownTarget,
    FaultRefused,
)
CANNOT = (StateError, RecorderRefusedError, LoadFailedError)


@contextmanager
def clear_exits(cannot: int = INVALID) -> Iterator[None]:
    """2: what was asked makes no sense. `cannot`: it does, but it cannot be done.

    Interrupted is 3, as for a run: whatever came out, nothing can be concluded from it.
    """
    try:
        yield
    except ASKED_WRONGLY as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(USAGE) from None
    except CANNOT as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(cannot) from None
    except KeyboardInterrupt:
        typer.echo("stopped; faults that are still armed end at their TTL", err=True)
        raise typer.Exit(INVALID) from None
