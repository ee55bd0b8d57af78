"""The interface of every runtime: seven operations on a lab, wherever its processes run."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from lab.runtimes.logs import ALL, LogFilter, LogLine
from lab.state import Lab

RESTART_DELAY_S = 1.0
Progress = Callable[[dict[str, Any]], None]  # {"name": "orders-1", "state": "starting"}
OnExit = Callable[[int], None]  # with the exit code, or minus the signal


def no_progress(_progress: dict[str, Any]) -> None:
    """Ignores progress."""


@dataclass(frozen=True)
class UpOptions:
    """How a lab starts.

    `settings` apply to every service (`RESILIENCE`), to one (`orders.OUTBOX`) or to one instance (`orders-1.ARM`).
    `fresh` deletes what the stores and the mail sink hold. `proxied` puts the fault proxy on every edge;
    `open_proxy` does too, and its API requires no token. `observers` also start where they are not on PATH.
    Containers ignore `observers` and `restart_delay_s`: the profile and the engine decide.
    """

    settings: Mapping[str, str] = field(default_factory=dict)
    fresh: bool = False
    proxied: bool = False
    open_proxy: bool = False
    observers: Collection[str] = ()
    restart_delay_s: float = RESTART_DELAY_S

    @property
    def with_proxy(self) -> bool:
        return self.proxied or self.open_proxy


DEFAULTS = UpOptions()


@dataclass(frozen=True)
class UpResult:
    """What `up` did. `already`: a lab was up, and `healed` lists the processes that were started again.

    `cleaned`: what a crashed lab had left behind. `hints`: why a requested observer does not run.
    """

    already: bool
    took_s: float
    cleaned: list[str] = field(default_factory=list)
    healed: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)


class Runtime(Protocol):
    """A place where the shop runs. Targets are instances (`orders-1`), services or servers."""

    port_base: int
    home: Path

    @property
    def lab(self) -> Lab:
        """The content of lab.json. Raises NoLabError."""
        ...

    def up(self, options: UpOptions = DEFAULTS, *, on_progress: Progress = no_progress) -> UpResult:
        """Start everything and wait until it is ready; processes that already run are not touched."""
        ...

    def down(self) -> bool:
        """Stop everything; False if no lab was up."""
        ...

    def status(self, *, live: bool = True) -> dict[str, Any]:
        """{"ready", "processes": [{"name", "service", "state", "pid", "port", "restarts", ...}]}."""
        ...

    def logs(
        self,
        target: str = "",
        *,
        only: LogFilter = ALL,
        last: int | None = 50,
        follow: bool = False,
    ) -> Iterator[LogLine]:
        """The last accepted lines of each instance (None: all), merged by time."""
        ...

    def kill(self, target: str, signal: str = "KILL", *, restart: bool = True) -> dict[str, Any]:
        """Send a signal; without `restart` the process stays down until `scale`, `up` or a restart."""
        ...

    def scale(self, service: str, replicas: int) -> dict[str, Any]:
        """Run this many instances and wait until the new ones are ready."""
        ...

    def address(self, name: str) -> str:
        """The URL of an instance (`orders-1`), of a service's first instance, or of an address in lab.json."""
        ...
