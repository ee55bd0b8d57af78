"""Starts a supervisor that outlives this process, reads its progress, and ends it if the start fails."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from lab.runtimes.base import Progress
from lab.state import StateError
from lab.topology import PROJECT

DOWN_S = 10.0


class UpFailedError(StateError):
    """The lab did not start and has been taken down again; `problems` are the reasons."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class DetachedSupervisor:
    """`python -m module`, which reads its order on stdin and inherits the lab's lock.

    Until `bring_up` returns, it ends when this process ends.
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
                start_new_session=True,  # a Ctrl-C must not reach it
                pass_fds=[lock],
            )

    def bring_up(self, order: dict[str, Any], on_progress: Progress) -> None:
        """Send the order, wait until everything is up, release the supervisor. Raises UpFailedError."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            with suppress(BrokenPipeError):  # it ended already: its log is shown below
                stdin.write(json.dumps(order).encode() + b"\n")
                stdin.flush()
            for line in stdout:
                message = json.loads(line)
                if "up" in message:
                    stdin.write(b"release\n")
                    stdin.flush()
                    return
                if "failed" in message:
                    raise UpFailedError(message["failed"])
                on_progress(message)
            tail = self._log.read_text()[-2000:]
            raise UpFailedError([f"the supervisor ended before the lab was up:\n{tail}"])
        finally:
            stdout.close()
            with suppress(BrokenPipeError):
                stdin.close()

    def end(self) -> None:
        """SIGTERM, then SIGKILL: after `bring_up` has released it, the end of stdin does not stop it."""
        self._process.terminate()
        try:
            self._process.wait(DOWN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def wait(self) -> None:
        """Wait until it has ended by itself."""
        self._process.wait()


def _environment() -> dict[str, str]:
    """This process' environment with the source roots: a checkout works without installation."""
    roots = [str(PROJECT / "system"), str(PROJECT)]
    if before := os.environ.get("PYTHONPATH"):
        roots.append(before)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(roots)}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # without bytecode the next start is 4x slower
    return env
