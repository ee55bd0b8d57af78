"""`python -m lab.runtimes.processes.zygote FD MODULE...`: imports modules once, then forks programs.

Eight services forked from one parent share most of their memory and start in tenths of a second. The protocol on
the socket FD is one JSON object per line:

    <- {"ready": seconds, "failed": {module: error}}        once
    -> {"start": name, "program": module, "argv": [...], "env": {...}, "log": path}
    <- {"started": name, "pid": pid}
    <- {"exited": name, "pid": pid, "status": exit code, or -signal}

A program is a module with `main()`, as `python -m` would run it. The zygote ends when the socket ends, and every
child ends when the zygote ends.
"""

import gc
import importlib
import importlib.util
import json
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn

from lab.runtimes.posix.spawn import die_with_parent, name_process


class Zygote:
    """Forks on request. Single-threaded, so that a fork copies no locked lock."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._names: dict[int, str] = {}
        self._read_wake, self._write_wake = os.pipe()
        os.set_blocking(self._write_wake, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._write_wake, warn_on_full_buffer=False)

    def serve(self, modules: list[str]) -> None:
        """Import, report ready, and fork on request until the socket ends."""
        started = time.monotonic()
        failed = _import_all(modules)
        if threading.active_count() != 1:
            names = ", ".join(thread.name for thread in threading.enumerate())
            raise RuntimeError(f"an import started a thread, so fork is not safe: {names}")
        gc.collect()
        gc.freeze()  # or each child's first collection copies every page that it touches
        self._send({"ready": round(time.monotonic() - started, 3), "failed": failed})
        buffer = b""
        while True:
            readable, _, _ = select.select([self._control.fileno(), self._read_wake], [], [])
            if self._read_wake in readable:
                os.read(self._read_wake, 512)
                self._reap()
            if self._control.fileno() in readable:
                chunk = self._control.recv(65536)
                if not chunk:
                    break
                *lines, buffer = (buffer + chunk).split(b"\n")
                for line in lines:
                    self._start(json.loads(line))
        for pid in self._names:
            os.kill(pid, signal.SIGKILL)

    def _start(self, order: dict[str, Any]) -> None:
        zygote = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._become(order, zygote)
        self._names[pid] = order["start"]
        self._send({"started": order["start"], "pid": pid})

    def _reap(self) -> None:
        while self._names:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            name = self._names.pop(pid, "")
            code = os.waitstatus_to_exitcode(status)
            self._send({"exited": name, "pid": pid, "status": code})

    def _send(self, message: dict[str, Any]) -> None:
        self._control.sendall(json.dumps(message).encode() + b"\n")

    def _become(self, order: dict[str, Any], zygote: int) -> NoReturn:
        """In the child: drop the zygote's state and run the program; never returns."""
        code = 1
        try:
            os.setpgid(0, 0)
            die_with_parent(zygote)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for descriptor in (self._read_wake, self._write_wake):
                os.close(descriptor)
            self._control.close()
            _redirect(Path(order["log"]))
            os.environ.clear()
            os.environ.update(order["env"])
            name_process(order["start"])
            gc.enable()
            code = run(order["program"], order["argv"])
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)


def run(program: str, argv: list[str]) -> int:
    """Run a module's `main()` as `python -m program argv...` does: its exit code."""
    if (spec := importlib.util.find_spec(program)) and spec.submodule_search_locations is not None:
        program += ".__main__"
    sys.argv = [program, *argv]
    try:
        importlib.import_module(program).main()
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _import_all(modules: list[str]) -> dict[str, str]:
    failed = {}
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:
            # The child fails on it too, with the traceback in its own log.
            failed[module] = f"{type(error).__name__}: {error}"
            print(f"{module} cannot be imported: {failed[module]}", file=sys.stderr)
    return failed


def _redirect(log: Path) -> None:
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.close(nothing)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)


def main() -> None:
    gc.disable()  # there is nothing to collect while importing; children enable it again
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(fileno=int(sys.argv[1])) as control:
        Zygote(control).serve(sys.argv[2:])


if __name__ == "__main__":
    main()
