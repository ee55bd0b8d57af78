"""Starts children that end when this process ends: by the kernel's parent-death signal, else by leash.py."""

import ctypes
import functools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

NOBODY = 65534
PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36
LINUX = sys.platform == "linux"
LEASH = Path(__file__).with_name("leash.py")
_libc = ctypes.CDLL(None, use_errno=True) if LINUX else None


def die_with_parent(parent: int, death_signal: signal.Signals = signal.SIGKILL) -> None:
    """The kernel sends this process `death_signal` when `parent` (a pid) ends. Does nothing except on Linux."""
    if _libc is None:
        return
    _libc.prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
    if os.getppid() != parent:  # it ended before prctl
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of orphaned grandchildren, so that they are reaped where PID 1 does not."""
    if _libc is not None:
        _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def name_process(name: str) -> None:
    """Set the name that `ps -o comm` and `top` show; 15 bytes at most, Linux only."""
    if _libc is not None:
        _libc.prctl(PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def must_drop_root() -> bool:
    """Whether this process is root: PostgreSQL refuses to run as root."""
    return os.geteuid() == 0


def uid_for(drop_root: bool) -> int | None:
    """The uid to give to subprocess, where `unprivileged` cannot change it; else None."""
    return NOBODY if drop_root and must_drop_root() and not _setpriv() else None


def unprivileged(command: Sequence[str | Path]) -> list[str]:
    """`command` as user 65534, still able to read a checkout below root's folders; unchanged if not root."""
    drop = _setpriv() if must_drop_root() else []
    return [*drop, *(str(part) for part in command)]


@functools.cache
def _setpriv() -> list[str]:
    """The start of a command line that drops all privileges except CAP_DAC_OVERRIDE; [] where it does not work.

    A change of the uid clears the parent-death signal, so setpriv sets it again.
    """
    drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    drop += ["--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--pdeathsig", "KILL"]
    # without it, access(2), with which PostgreSQL finds its own programs, ignores the capability
    drop += ["--securebits=+no_setuid_fixup"]
    try:
        works = subprocess.run([*drop, "true"], capture_output=True).returncode == 0
    except OSError:
        works = False
    return drop if works else []


def start(
    command: Sequence[str | Path],
    *,
    output: int,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    drop_root: bool = False,
    death_signal: signal.Signals = signal.SIGKILL,
    pass_fds: Sequence[int] = (),
) -> "subprocess.Popen[bytes]":
    """Start `command` in its own process group, with stdout and stderr on the descriptor `output`.

    It ends when this process ends, for any reason. Raises OSError if it cannot be started.
    """
    full = unprivileged(command) if drop_root else [str(part) for part in command]
    me = os.getpid()
    before: Callable[[], None] | None = lambda: die_with_parent(me, death_signal)  # noqa: E731
    fds = list(pass_fds)
    leash_read = -1
    if not LINUX:
        before = None
        full, leash_read = on_leash(full)
        fds.append(leash_read)
    try:
        return subprocess.Popen(
            full,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=cwd,
            env=env,
            preexec_fn=before,  # noqa: PLW1509 - it only calls prctl
            process_group=0,
            pass_fds=fds,
            user=uid_for(drop_root),
            group=uid_for(drop_root),
        )
    finally:
        if leash_read >= 0:
            os.close(leash_read)


def can_fork() -> bool:
    """Whether a process can fork and continue without exec (macOS' own libraries do not allow it).

    LAB_FORK=off disables it, e.g. to run a service under a debugger.
    """
    return LINUX and os.environ.get("LAB_FORK") != "off"


_leash: tuple[int, int] | None = None


def on_leash(command: Sequence[str]) -> tuple[list[str], int]:
    """`command` run by leash.py, and the descriptor it must inherit.

    Only this process has the other end open: when it ends, leash.py reads the end of the pipe.
    """
    global _leash
    if _leash is None:
        _leash = os.pipe()
    read = os.dup(_leash[0])
    return [sys.executable, str(LEASH), str(read), *command], read
