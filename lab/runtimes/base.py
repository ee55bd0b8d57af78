"""The seven verbs that every runtime knows: processes here, compose and kubernetes alike."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from lab.runtimes.logs import LogLine

Progress = Callable[[dict[str, Any]], None]
OnExit = Callable[[int], None]  # with the exit code, or minus the signal


@dataclass(frozen=True)
class Up:
    """What `up` did: `cleaned` says what a crashed lab had left, `healed` what was started again."""

    already: bool
    took_s: float
    cleaned: list[str] = field(default_factory=list)
    healed: list[str] = field(default_factory=list)


class Runtime(Protocol):
    """A place where the shop runs. Targets are instances (`orders-1`), services or servers."""

    def up(self, settings: Mapping[str, str], *, fresh: bool, on_progress: Progress) -> Up:
        """Everything running and ready; what runs already stays."""
        ...

    def down(self) -> bool:
        """Nothing running; False if nothing was."""
        ...

    def status(self, *, live: bool = True) -> dict[str, Any]:
        """{"ready", "processes": [{"name", "service", "state", "pid", "port", "restarts", ...}]}."""
        ...

    def logs(
        self, target: str = "", *, level: str = "debug", last: int = 50, follow: bool = False
    ) -> Iterator[LogLine]:
        """The last lines of each instance, merged by time."""
        ...

    def kill(self, target: str, signal: str = "KILL", *, restart: bool = True) -> dict[str, Any]:
        """Signal it; without `restart` its end is final until `scale`, `up` or a restart."""
        ...

    def scale(self, service: str, replicas: int) -> dict[str, Any]:
        """Run this many instances, wait until the new ones are ready."""
        ...

    def address(self, name: str) -> str:
        """The URL of an instance (`orders-1`), of the first of a service, or of what is named in lab.json."""
        ...
