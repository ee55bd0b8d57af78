"""The descriptors that a service's log is written to, led elsewhere for a while and then back."""

import os
import sys
from types import TracebackType

STREAMS = (1, 2)  # stdout and stderr: whoever started us has led both into the instance's log


class LogFiles:
    """`kept` is the log itself meanwhile. Leaving the context leads back, whatever happened."""

    def __enter__(self) -> "LogFiles":
        self._saved = {stream: os.dup(stream) for stream in STREAMS}
        self.kept = self._saved[STREAMS[0]]
        return self

    def lead_to(self, target: int) -> None:
        """Let what is written from now on go to the descriptor `target`."""
        for stream in STREAMS:
            os.dup2(target, stream)

    def lead_back(self) -> None:
        for stream, saved in self._saved.items():
            os.dup2(saved, stream)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.lead_back()
        for saved in self._saved.values():
            os.close(saved)
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()  # what could not be written is written now
            except (OSError, ValueError):
                continue
