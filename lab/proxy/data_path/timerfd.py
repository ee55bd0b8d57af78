"""Linux's timerfd as three functions, called through libc (the standard library has it from 3.13)."""

import contextlib
import ctypes
import math
import os
import sys
import time

_TIMER_ABSTIME = 1
_NS = 1_000_000_000


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


if sys.platform == "linux":
    _libc = ctypes.CDLL(None, use_errno=True)

    def create() -> int | None:
        """Creates a timer on the clock of `time.monotonic`; None if the kernel has no timerfd."""
        if not hasattr(_libc, "timerfd_create"):
            return None
        fd = _libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        return fd if fd >= 0 else None

    def set_at(fd: int, when_s: float) -> None:
        """Makes `fd` readable at a monotonic instant, or at once if that has passed."""
        # rounded up: a timer may be late but never early; 0 would disarm it
        seconds, nanoseconds = divmod(max(1, math.ceil(when_s * _NS)), _NS)
        spec = _Itimerspec(_Timespec(0, 0), _Timespec(seconds, nanoseconds))
        if _libc.timerfd_settime(fd, _TIMER_ABSTIME, ctypes.byref(spec), None) != 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")

else:

    def create() -> int | None:
        return None

    def set_at(fd: int, when_s: float) -> None:
        raise NotImplementedError


def acknowledge(fd: int) -> None:
    """Clears the timer's expiry, if it has expired."""
    with contextlib.suppress(BlockingIOError):
        os.read(fd, 8)
