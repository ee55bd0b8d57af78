"""A tool as a child process of the run. It ends with the run, and only the run sends it signals."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from lab.run.children import environment
from lab.runtimes.posix.spawn import start
from lab.topology import PROJECT

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
SOURCE_ROOTS = (PROJECT / "system", PROJECT)


def child_environment(home: Path) -> dict[str, str]:
    """This process's environment without the user's own settings, plus the source roots.

    With the source roots a checkout works without installation. `home` need not exist.
    """
    paths = [*map(str, SOURCE_ROOTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**environment.of_child(home), "PYTHONPATH": os.pathsep.join(paths)}


class ChildProcess:
    """Its stdout and stderr go to `log`."""

    def __init__(
        self, command: Sequence[str | Path], log: Path, env: dict[str, str] | None = None
    ) -> None:
        self.log = log
        # colours and progress bars are for people; the log is for grep
        plain = {"NO_COLOR": "1", "TERM": "dumb", "PYTHONUNBUFFERED": "1"}
        full = {**child_environment(log.parent / "home"), **plain, **(env or {})}
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            self._process = start(command, output=descriptor, cwd=PROJECT, env=full)
        finally:
            os.close(descriptor)

    @property
    def exit_code(self) -> int | None:
        """None while it runs; minus the signal's number if a signal ended it."""
        return self._process.poll()

    def send(self, number: signal.Signals) -> None:
        if self.exit_code is None:
            self._process.send_signal(number)

    def wait(self, timeout_s: float) -> bool:
        """Waits until it ends; False if it still runs after `timeout_s`."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """Kills it and the processes that it started."""
        if self.exit_code is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def last_output(self, lines: int = 5) -> str:
        """The last lines of its log, for an error message."""
        text = self.log.read_text(errors="replace") if self.log.is_file() else ""
        text = COLOUR.sub("", text)  # some tools ignore NO_COLOR
        return "\n".join(line for line in text.splitlines()[-lines:] if line.strip())
