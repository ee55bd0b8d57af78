"""A lab's folder: its lock, which says that it is up, and what must be there before it starts."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.resilience_overrides import overrides_file
from lab.state import StateError

FREE_BYTES_MIN = 300 * 1024 * 1024


@contextmanager
def locked(home: Path) -> Iterator[int | None]:
    """The lab's folder, and its lock as a descriptor; None while a supervisor has it. Raises StateError."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = os.open(home / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StateError(
            f"{home} cannot be written ({error.strerror}): make it writable, or choose "
            "another place with LAB_DIR"
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        yield None
        return
    try:
        yield lock
    finally:
        os.close(lock)


def prepare(home: Path, *, fresh: bool) -> None:
    """Folders, room on the disk, the last run's logs aside. Raises StateError."""
    free = shutil.disk_usage(home).free
    if free < FREE_BYTES_MIN:
        raise StateError(
            f"{home} has {free >> 20} MB left on its disk, a lab needs "
            f"{FREE_BYTES_MIN >> 20}: make room, or choose another place with LAB_DIR"
        )
    try:
        if fresh:
            for name in ("data", "mail"):
                shutil.rmtree(home / name, ignore_errors=True)
        logs, previous = home / "logs", home / "logs.previous"
        shutil.rmtree(previous, ignore_errors=True)
        if logs.exists():
            logs.rename(previous)
        for name in ("logs", "data", "mail", "run"):
            (home / name).mkdir(exist_ok=True)
        overrides_file(home).unlink(missing_ok=True)  # a lab begins as its settings say
    except OSError as error:
        raise StateError(f"{home} cannot be written: {error}") from None
