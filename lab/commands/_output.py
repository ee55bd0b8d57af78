"""Output whose reader may go away: after `lab logs | head`, what else is written to that pipe is dropped."""

import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_without_reader: set[int] = set()


class _Descriptor(io.FileIO):
    """A descriptor on which writes succeed also when nothing reads them."""

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            _without_reader.add(self.fileno())
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            return memoryview(data).nbytes


def outlive_readers() -> None:
    """Let stdout and stderr outlive their readers: the exit code is then that of the command's work."""
    sys.stdout, sys.stderr = _outliving(sys.stdout), _outliving(sys.stderr)


def has_reader(descriptor: int = 1) -> bool:
    """False once something was written that nothing reads: the end for a command that prints for ever."""
    return descriptor not in _without_reader


def _outliving(stream: TextIO) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper):  # closed, or replaced by an embedding program
        return stream
    stream.flush()
    raw = _Descriptor(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
