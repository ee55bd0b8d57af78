"""A lab's folder: its lock, which the supervisor holds while the lab is up, and its preparation for a start."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.resilience_overrides import overrides_file
from lab.runtimes.posix.spawn import uid_for
from lab.state import StateError

FREE_BYTES_MIN = 300 * 1024 * 1024


@contextmanager
def locked(home: Path) -> Iterator[int | None]:
    """Create the folder and lock it: a descriptor, or None while a supervisor has the lock. Raises StateError."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        home.chmod(_mode())
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


def _mode() -> int:
    """For the owner only; but PostgreSQL passes through where it runs as another user, without a capability."""
    return 0o700 if uid_for(drop_root=True) is None else 0o711


def prepare(home: Path, *, fresh: bool) -> None:
    """Check the disk space, create the folders, move the last logs to logs.previous. Raises StateError."""
    free = shutil.disk_usage(home).free
    if free < FREE_BYTES_MIN:
        raise StateError(
            f"{home} has {free >> 20} MB left on its disk, a lab needs "
            f"{FREE_BYTES_MIN >> 20}: make room, or choose another place with LAB_DIR"
        )
    try:
        for name in ("data", "mail"):
            old = home / f"{name}.deleted"
            shutil.rmtree(old, ignore_errors=True)  # of an interrupted start
            if fresh and (home / name).exists():
                (home / name).rename(old)  # a part of a store must not look like a store
                shutil.rmtree(old, ignore_errors=True)
        logs, previous = home / "logs", home / "logs.previous"
        shutil.rmtree(previous, ignore_errors=True)
        if logs.exists():
            logs.rename(previous)
        for name in ("logs", "data", "mail", "run"):
            (home / name).mkdir(exist_ok=True)
        overrides_file(home).unlink(missing_ok=True)  # a lab starts with its settings only
    except OSError as error:
        raise StateError(f"{home} cannot be written: {error}") from None
