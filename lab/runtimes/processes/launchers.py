"""Starts Python programs: forked from the zygote where that is safe, else each as a process of its own."""

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

# glibc keeps an arena a thread and, once a large block was freed, large blocks too: argon2's would stay.
LEAN = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_TRIM_THRESHOLD_": "1048576",
    "MALLOC_MMAP_THRESHOLD_": "1048576",
}


@dataclass(frozen=True)
class Program:
    """`python -m module argv...` with these settings and nothing else of our environment."""

    module: str
    argv: Sequence[str]
    env: dict[str, str]
    log: Path


class Programs(Protocol):
    """Either way to start programs."""

    async def start(self, name: str, program: Program, on_exit: OnExit) -> int:
        """The pid; `on_exit` gets the exit code, or minus the signal. Raises OSError."""
        ...


def programs(children: Children, modules: Sequence[str], log: Path) -> Programs:
    """The way that fits this platform; `modules` are imported once where that helps."""
    return Forked(children, modules, log) if can_fork() else Spawned(children)


class Spawned:
    """Each program by its own interpreter: slower and larger, works everywhere."""

    def __init__(self, children: Children) -> None:
        self._children = children

    async def start(self, name: str, program: Program, on_exit: OnExit) -> int:
        command = Command([sys.executable, "-m", program.module, *program.argv])
        return self._children.start(command, program.log, on_exit, env=program.env)


class Forked:
    """Children of one zygote; when it dies they die with it, and it is started again when next needed."""

    def __init__(self, children: Children, modules: Sequence[str], log: Path) -> None:
        self._children = children
        self._modules = modules
        self._log = log
        self._zygote: _Zygote | None = None
        self.on_change: Callable[[int], None] = lambda pid: None

    async def start(self, name: str, program: Program, on_exit: OnExit) -> int:
        zygote = self.zygote()
        await zygote.ready
        order = {"start": name, "program": program.module, "argv": [*program.argv]}
        env = {**plain_environment(), **program.env}
        return await zygote.fork({**order, "env": env, "log": str(program.log)}, on_exit)

    @property
    def pid(self) -> int:
        """The zygote's, 0 while there is none."""
        return self._zygote.pid if self._zygote and not self._zygote.gone else 0

    def zygote(self) -> "_Zygote":
        """The living one, started (and importing) if there is none."""
        if self._zygote is None or self._zygote.gone:
            self._zygote = _Zygote(self._children, self._modules, self._log)
            self.on_change(self._zygote.pid)
        return self._zygote


class _Zygote:
    def __init__(self, children: Children, modules: Sequence[str], log: Path) -> None:
        loop = asyncio.get_running_loop()
        self.gone = False
        self.ready: asyncio.Future[dict[str, str]] = loop.create_future()
        self._log = log
        self._waiting: dict[str, asyncio.Future[int]] = {}
        self._on_exit: dict[int, OnExit] = {}
        self._orders: dict[str, OnExit] = {}
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
        self._orders[name] = on_exit
        self._writer.write(json.dumps(order).encode() + b"\n")
        return await self._waiting[name]

    async def _read(self) -> None:
        reader, self._writer = await asyncio.open_connection(sock=self._socket)
        with suppress(ConnectionError):
            while line := await reader.readline():
                self._hear(json.loads(line))
        self._writer.close()

    def _hear(self, message: dict[str, Any]) -> None:
        if "ready" in message:
            if not self.ready.done():
                self.ready.set_result(message["failed"])
        elif "started" in message:
            name, pid = message["started"], message["pid"]
            self._on_exit[pid] = self._orders.pop(name)
            self._waiting.pop(name).set_result(pid)
        elif on_exit := self._on_exit.pop(message["pid"], None):
            on_exit(message["status"])

    def _ended(self, code: int) -> None:
        """Its children have been killed by the kernel: tell each one's process."""
        self.gone = True
        self._reading.cancel()
        error = ConnectionError(f"the zygote ended with {code}; see {self._log}")
        futures: list[asyncio.Future[Any]] = [self.ready, *self._waiting.values()]
        for future in futures:
            if not future.done():
                future.set_exception(error)
                future.exception()  # it may have no waiter
        self._waiting.clear()
        on_exit, self._on_exit = self._on_exit, {}
        for each in on_exit.values():
            each(-9)
