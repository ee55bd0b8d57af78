"""Tells a person how a run goes: a moving bar on a terminal, plain lines anywhere else."""

from __future__ import annotations

import time
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn


class ProgressReporter(Protocol):
    """`phase` begins a stretch of (about) `seconds`, `message` adds a line, `tick` keeps it moving."""

    def phase(self, name: str, seconds: float | None = None) -> None: ...
    def message(self, text: str) -> None: ...
    def tick(self) -> None: ...
    def close(self) -> None: ...


def make_reporter(quiet: bool = False) -> ProgressReporter:
    """What fits the output: nothing if `quiet`, bars on a terminal, else lines. Writes to stderr."""
    if quiet:
        return SilentReporter()
    console = Console(stderr=True, highlight=False)
    return BarReporter(console) if console.is_terminal else LineReporter(console)


class SilentReporter:
    """For `--json`: the result alone."""

    def phase(self, name: str, seconds: float | None = None) -> None: ...
    def message(self, text: str) -> None: ...
    def tick(self) -> None: ...
    def close(self) -> None: ...


class LineReporter(SilentReporter):
    """One line a happening, with the seconds since the start."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = time.monotonic()

    def phase(self, name: str, seconds: float | None = None) -> None:
        self.message(f"{name} ({seconds:.0f} s)" if seconds else name)

    def message(self, text: str) -> None:
        passed_s = time.monotonic() - self._started
        self._console.print(f"[{passed_s:6.1f} s] {text}", markup=False, soft_wrap=True)


class BarReporter(SilentReporter):
    """One bar for the phase that goes on; what was said stays above it."""

    def __init__(self, console: Console) -> None:
        self._lines = LineReporter(console)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description:<10}"),
            BarColumn(),
            TextColumn("{task.fields[passed]}"),
            console=console,
            transient=True,
        )
        self._progress.start()
        self._task: TaskID | None = None
        self._seconds: float | None = None
        self._since = time.monotonic()

    def phase(self, name: str, seconds: float | None = None) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._lines.phase(name, seconds)
        self._seconds, self._since = seconds, time.monotonic()
        self._task = self._progress.add_task(name, total=seconds, passed="")

    def message(self, text: str) -> None:
        self._lines.message(text)

    def tick(self) -> None:
        if self._task is not None:
            passed_s = time.monotonic() - self._since
            of = f" of {self._seconds:.0f} s" if self._seconds else " s"
            self._progress.update(self._task, completed=passed_s, passed=f"{passed_s:.0f}{of}")

    def close(self) -> None:
        self._progress.stop()
