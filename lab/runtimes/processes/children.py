"""The supervisor's direct children: they end with it, every exited child is reaped, each exit is reported once."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.runtimes.base import OnExit
from lab.runtimes.posix import spawn
from lab.runtimes.servers.commands import Command

PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV")


def plain_environment() -> dict[str, str]:
    """The variables that children inherit; each gets its settings separately."""
    return {name: os.environ[name] for name in PASSED_ON if name in os.environ}


class Children:
    """Starts and reaps children. Requires a running event loop; handles SIGCHLD."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[subprocess.Popen[bytes], OnExit]] = {}
        spawn.adopt_orphans()
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap)

    def start(
        self,
        command: Command,
        log: Path,
        on_exit: OnExit,
        pass_fds: Sequence[int] = (),
        env: Mapping[str, str] | None = None,
    ) -> int:
        """Start a child: its pid; `on_exit` gets its exit code, or minus the signal. Raises OSError."""
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            child = spawn.start(
                command.argv,
                output=output,
                env={**plain_environment(), **command.env, **(env or {})},
                drop_root=command.drop_root,
                death_signal=command.death_signal,
                pass_fds=pass_fds,
            )
        finally:
            os.close(output)
        self._known[child.pid] = (child, on_exit)
        return child.pid

    async def run(self, command: Command, log: Path) -> int:
        """Run `command` to its end: its exit code. Cancellation kills it, and waits for its end."""
        ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def on_exit(code: int) -> None:
            if not ended.done():
                ended.set_result(code)

        pid = self.start(command, log, on_exit)
        try:
            await asyncio.wait([ended])
        finally:
            if not ended.done():
                os.killpg(pid, signal.SIGKILL)  # and what it started
                await asyncio.wait([ended])
        return ended.result()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self._known:  # else an adopted orphan
                child, on_exit = self._known.pop(pid)
                code = os.waitstatus_to_exitcode(status)
                child.returncode = code  # or Popen would wait for it again
                self._end_group(pid)
                on_exit(code)

    def _end_group(self, group: int) -> None:
        """Kill the rest of its group: the workers of a killed master would hold its port."""
        try:
            os.killpg(group, signal.SIGKILL)
        except OSError:
            return
