"""Redirects the descriptors of a service's log for a time, and restores them."""

import os
import sys
from types import TracebackType

STREAMS = (1, 2)  # stdout and stderr: the parent process has redirected both to the instance's log


class LogFiles:
    """`log` is the log itself while it is redirected. Leaving the context restores the descriptors in any case."""

    def __enter__(self) -> "LogFiles":
        self._saved = {stream: os.dup(stream) for stream in STREAMS}
        self.log = self._saved[STREAMS[0]]
        return self

    def redirect_to(self, target: int) -> None:
        """Sends all further output to the descriptor `target`."""
        for stream in STREAMS:
            os.dup2(target, stream)

    def restore(self) -> None:
        for stream, saved in self._saved.items():
            os.dup2(saved, stream)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.restore()
        for saved in self._saved.values():
            os.close(saved)
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()  # writes what could not be written before
            except (OSError, ValueError):
                continue
