"""Starts a supervisor that outlives us, hears how it brings its lab up, and takes it back if that fails."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from lab.runtimes.base import Progress
from lab.state import StateError
from lab.topology import PROJECT

DOWN_S = 10.0


class UpFailedError(StateError):
    """The lab did not come up; it has been taken down again. `problems` says why."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class DetachedSupervisor:
    """`python -m module`, told its order on stdin; `lock` is the lab's lock, which it inherits.

    Until `bring_up` returns it ends with us, whatever interrupts us.
    """

    def __init__(self, module: str, home: Path, lock: int) -> None:
        self._log = home / "logs" / "supervisor.jsonl"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=home,
                env=_environment(),
                start_new_session=True,  # a Ctrl-C is for us alone
                pass_fds=[lock],
            )

    def bring_up(self, order: dict[str, Any], on_progress: Progress) -> None:
        """Give the order, wait until all is up, let it go its own way. Raises UpFailedError."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            stdin.write(json.dumps(order).encode() + b"\n")
            stdin.flush()
            for line in stdout:
                told = json.loads(line)
                if "up" in told:
                    stdin.write(b"release\n")
                    stdin.flush()
                    return
                if "failed" in told:
                    raise UpFailedError(told["failed"])
                on_progress(told)
            tail = self._log.read_text()[-2000:]
            raise UpFailedError([f"the supervisor ended before the lab was up:\n{tail}"])
        finally:
            stdout.close()
            stdin.close()

    def end(self) -> None:
        """Ask it to end, and make it end. It may have been let go a moment ago: stdin says nothing then."""
        self._process.terminate()
        try:
            self._process.wait(DOWN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def wait(self) -> None:
        """Until it has ended by itself."""
        self._process.wait()


def _environment() -> dict[str, str]:
    """Ours, with the source roots: a checkout works without being installed."""
    roots = [str(PROJECT / "system"), str(PROJECT)]
    if before := os.environ.get("PYTHONPATH"):
        roots.append(before)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(roots)}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # without bytecode the next start is 4x slower
    return env
