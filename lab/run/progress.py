"""Reports a run's progress on stderr: a moving bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn


class ProgressReporter(Protocol):
    """`phase` starts a phase of about `seconds`, `message` adds a line, `tick` moves the bar."""

    def phase(self, name: str, seconds: float | None = None) -> None: ...
    def message(self, text: str) -> None: ...
    def tick(self) -> None: ...


@contextmanager
def progress_reporter(quiet: bool = False) -> Iterator[ProgressReporter]:
    """The reporter for this output: silent if `quiet`, a bar on a terminal, else lines."""
    console = Console(stderr=True, highlight=False)
    if quiet:
        yield SilentReporter()
    elif not console.is_terminal:
        yield LineReporter(console)
    else:
        with Progress(
            SpinnerColumn(),
            TextColumn("{task.description:<10}"),
            BarColumn(),
            TextColumn("{task.fields[passed]}"),
            console=console,
            transient=True,
        ) as progress:
            yield BarReporter(console, progress)


class SilentReporter:
    """For `--json`: no progress."""

    def phase(self, name: str, seconds: float | None = None) -> None: ...
    def message(self, text: str) -> None: ...
    def tick(self) -> None: ...


class LineReporter(SilentReporter):
    """One line for each phase and message, with the seconds since the start."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = time.monotonic()

    def phase(self, name: str, seconds: float | None = None) -> None:
        self.message(f"{name} ({seconds:.0f} s)" if seconds else name)

    def message(self, text: str) -> None:
        passed_s = time.monotonic() - self._started
        self._console.print(f"[{passed_s:6.1f} s] {text}", markup=False, soft_wrap=True)


class BarReporter(LineReporter):
    """The same lines, and below them a bar for the current phase."""

    def __init__(self, console: Console, progress: Progress) -> None:
        super().__init__(console)
        self._progress = progress
        self._task: TaskID | None = None
        self._seconds: float | None = None
        self._since = time.monotonic()

    def phase(self, name: str, seconds: float | None = None) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
        super().phase(name, seconds)
        self._seconds, self._since = seconds, time.monotonic()
        self._task = self._progress.add_task(name, total=seconds, passed="")

    def tick(self) -> None:
        if self._task is not None:
            passed_s = time.monotonic() - self._since
            of = f" of {self._seconds:.0f} s" if self._seconds else " s"
            self._progress.update(self._task, completed=passed_s, passed=f"{passed_s:.0f}{of}")
