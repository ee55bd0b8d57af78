"""Starts Python programs: forked from the zygote where fork is safe, else each in a new interpreter."""

import asyncio
import json
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lab.runtimes.base import OnExit
from lab.runtimes.posix.spawn import can_fork
from lab.runtimes.processes.children import Children, plain_environment
from lab.runtimes.servers.commands import Command

# glibc keeps one arena per thread, and keeps freed large blocks (argon2's) unless these thresholds are fixed.
LEAN = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_TRIM_THRESHOLD_": "1048576",
    "MALLOC_MMAP_THRESHOLD_": "1048576",
}


@dataclass(frozen=True)
class Program:
    """`python -m module argv...` with only these settings in its environment."""

    module: str
    argv: Sequence[str]
    env: dict[str, str]
    log: Path


class Launcher(Protocol):
    """Starts programs."""

    @property
    def pid(self) -> int:
        """The zygote's pid, 0 without a zygote."""
        ...

    def prepare(self, on_change: Callable[[], None]) -> None:
        """Start what speeds up later starts; `on_change` is called when `pid` changes."""
        ...

    async def start(self, name: str, program: Program, on_exit: OnExit) -> int:
        """Start it: its pid; `on_exit` gets the exit code, or minus the signal. Raises OSError."""
        ...


def launcher(children: Children, modules: Sequence[str], log: Path) -> Launcher:
    """The launcher for this platform; the zygote imports `modules` once."""
    return ForkLauncher(children, modules, log) if can_fork() else SpawnLauncher(children)


class SpawnLauncher:
    """Starts each program in its own interpreter: slower and larger, but works everywhere."""

    pid = 0

    def __init__(self, children: Children) -> None:
        self._children = children

    def prepare(self, on_change: Callable[[], None]) -> None:
        """There is nothing to prepare."""

    async def start(self, name: str, program: Program, on_exit: OnExit) -> int:
        command = Command([sys.executable, "-m", program.module, *program.argv])
        return self._children.start(command, program.log, on_exit, env=program.env)


class ForkLauncher:
    """Forks programs from one zygote. They end with it, and the next start starts it again."""

    def __init__(self, children: Children, modules: Sequence[str], log: Path) -> None:
        self._children = children
        self._modules = modules
        self._log = log
        self._zygote: _Zygote | None = None
        self._on_change: Callable[[], None] = lambda: None

    async def start(self, name: str, program: Program, on_exit: OnExit) -> int:
        zygote = self._running_zygote()
        await zygote.ready
        order = {"start": name, "program": program.module, "argv": [*program.argv]}
        env = {**plain_environment(), **program.env}
        return await zygote.fork({**order, "env": env, "log": str(program.log)}, on_exit)

    def prepare(self, on_change: Callable[[], None]) -> None:
        """Start the zygote, which imports the modules."""
        self._on_change = on_change
        self._running_zygote()

    @property
    def pid(self) -> int:
        return self._zygote.pid if self._zygote and not self._zygote.ended else 0

    def _running_zygote(self) -> "_Zygote":
        if self._zygote is None or self._zygote.ended:
            self._zygote = _Zygote(self._children, self._modules, self._log)
            self._on_change()
        return self._zygote


class _Zygote:
    def __init__(self, children: Children, modules: Sequence[str], log: Path) -> None:
        loop = asyncio.get_running_loop()
        self.ended = False
        self.ready: asyncio.Future[dict[str, str]] = loop.create_future()
        self._log = log
        self._waiting: dict[str, asyncio.Future[int]] = {}
        self._on_exit: dict[int, OnExit] = {}
        self._starting: dict[str, OnExit] = {}
        ours, theirs = socket.socketpair()
        with theirs:
            command = [
                sys.executable,
                "-m",
                "lab.runtimes.processes.zygote",
                str(theirs.fileno()),
                *modules,
            ]
            self.pid = children.start(
                Command(command, env=LEAN), log, self._ended, pass_fds=[theirs.fileno()]
            )
        self._socket = ours
        self._reading = asyncio.create_task(self._read())

    async def fork(self, order: dict[str, Any], on_exit: OnExit) -> int:
        name = order["start"]
        self._waiting[name] = asyncio.get_running_loop().create_future()
        self._starting[name] = on_exit
        self._writer.write(json.dumps(order).encode() + b"\n")
        return await self._waiting[name]

    async def _read(self) -> None:
        reader, self._writer = await asyncio.open_connection(sock=self._socket)
        with suppress(ConnectionError):
            while line := await reader.readline():
                self._handle(json.loads(line))
        self._writer.close()

    def _handle(self, message: dict[str, Any]) -> None:
        if "ready" in message:
            if not self.ready.done():
                self.ready.set_result(message["failed"])
        elif "started" in message:
            name, pid = message["started"], message["pid"]
            self._on_exit[pid] = self._starting.pop(name)
            self._waiting.pop(name).set_result(pid)
        elif on_exit := self._on_exit.pop(message["pid"], None):
            on_exit(message["status"])

    def _ended(self, code: int) -> None:
        """The kernel has killed its children too: report each exit."""
        self.ended = True
        self._reading.cancel()
        error = ConnectionError(f"the zygote ended with {code}; see {self._log}")
        futures: list[asyncio.Future[Any]] = [self.ready, *self._waiting.values()]
        for future in futures:
            if not future.done():
                future.set_exception(error)
                future.exception()  # no task may be waiting for it
        self._waiting.clear()
        on_exit, self._on_exit = self._on_exit, {}
        for each in on_exit.values():
            each(-9)
