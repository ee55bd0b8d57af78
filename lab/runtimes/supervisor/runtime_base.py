"""What every runtime with a supervisor on this machine has in common: most verbs are questions to it."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lab import topology as topologies
from lab.nearest import nearest
from lab.runtimes import logs as log_files
from lab.runtimes.base import Up
from lab.runtimes.logs import LogLine
from lab.runtimes.posix import pids
from lab.runtimes.supervisor import client
from lab.runtimes.supervisor.client import ControlError, UsageError
from lab.runtimes.supervisor.launch import DOWN_S, DetachedSupervisor, UpFailedError
from lab.state import Lab, NoLabError, StateError, home_of
from lab.topology import Topology

UP_S = 90.0


class SupervisedRuntime:
    """One lab at `port_base`, in `.lab/<port_base>/`. How it comes up and goes down is the runtime's own."""

    def __init__(self, port_base: int, topology: Path = topologies.DEFAULT_PATH) -> None:
        self.port_base = port_base
        self.home = home_of(port_base)
        self._topology = topology
        self._supervisor: DetachedSupervisor | None = None

    @property
    def lab(self) -> Lab:
        """What lab.json says. Raises NoLabError."""
        return Lab.load(self.home)

    def logs(
        self, target: str = "", *, level: str = "debug", last: int = 50, follow: bool = False
    ) -> Iterator[LogLine]:
        """Raises UsageError if there is no log of `target`; a lab that is down has logs too."""
        folder = self.home / "logs"
        if level not in log_files.LEVELS:
            raise UsageError(f"level {level!r}{nearest(level, log_files.LEVELS)}")
        if not log_files.files(folder, target):
            known = {path.stem for path in log_files.files(folder)}
            if not known:
                raise NoLabError(f"no logs in {folder}: start a lab with `lab up`")
            raise UsageError(f"no log of {target!r}{nearest(target, known)}")
        return log_files.read(folder, target, level=level, last=last, follow=follow)

    def kill(self, target: str, signal: str = "KILL", *, restart: bool = True) -> dict[str, Any]:
        """Raises UsageError for an unknown target or signal, ControlError if it is not running."""
        body = {"target": target, "signal": signal, "restart": restart}
        return client.call_supervisor(self.lab, "POST", "/kill", body)

    def scale(self, service: str, replicas: int) -> dict[str, Any]:
        """Raises UsageError for an unknown service or a number out of 0..10."""
        return client.call_supervisor(
            self.lab, "POST", "/scale", {"service": service, "replicas": replicas}
        )

    def address(self, name: str) -> str:
        """Raises UsageError if nobody has that name."""
        lab = self.lab
        found = {entry.name: entry.address for entry in reversed(lab.instances)}
        for entry in reversed(lab.instances):
            found[entry.service] = entry.address
        found |= lab.addresses
        if name not in found:
            raise UsageError(f"no address of {name!r}{nearest(name, found)}")
        return found[name]

    def _heal(self, began: float, fresh: bool, settings: dict[str, str], proxied: bool) -> Up:
        """A supervisor has the lock: wait until it is up, start what is stopped."""
        if fresh:
            raise StateError("a lab is up here: `lab down` first, then `lab up --fresh`")
        while True:
            try:
                lab = self.lab
                if settings and settings != lab.settings:
                    raise StateError(
                        f"a lab is up with {lab.settings or 'no settings of its own'}: "
                        "`lab down` first, then `lab up` with the new ones"
                    )
                if proxied and not lab.proxied:
                    raise StateError(
                        "a lab is up without the fault proxy on its edges: `lab down` first, then "
                        "`lab up --proxied`"
                    )
                if client.call_supervisor(lab, "GET", "/status")["up"]:
                    answer = client.call_supervisor(lab, "POST", "/heal", {})
                    break
            except (NoLabError, ControlError):
                pass
            if time.monotonic() - began > UP_S:
                raise StateError(
                    f"a supervisor has {self.home} but does not answer: `lab down` ends it"
                )
            time.sleep(0.05)
        healed = [each["name"] for each in answer["processes"]]
        if not answer["ready"]:
            raise UpFailedError(
                [f"could not be started again: {', '.join(healed)}; see `lab status`"]
            )
        return Up(True, round(time.monotonic() - began, 2), healed=healed)

    def _set_current(self) -> None:
        """The newest lab: the one that is meant when none is named."""
        (self.home.parent / "current").write_text(f"{self.port_base}\n")

    def _unset_current(self) -> None:
        current = self.home.parent / "current"
        with suppress(OSError):
            if current.read_text().strip() == str(self.port_base):
                current.unlink()

    def _end_supervisor(self) -> bool:
        try:
            entry = next(each for each in self.lab.servers if each.name == "supervisor")
        except (StateError, StopIteration):
            return False
        if not pids.same(entry.pid, entry.identity):
            return False
        os.kill(entry.pid, 15)
        give_up = time.monotonic() + DOWN_S
        while pids.same(entry.pid, entry.identity):
            if time.monotonic() > give_up:
                os.kill(entry.pid, 9)
                give_up += DOWN_S
            time.sleep(0.01)
        return True


def check_settings(settings: Mapping[str, str], topology: Topology) -> None:
    for name in settings:
        target, _, own = name.rpartition(".")
        service = target.rpartition("-")[0] if target[-1:].isdigit() else target
        if target and service not in topology.services:
            raise UsageError(
                f"setting {name}: no service {service!r}{nearest(service, topology.services)}"
            )
        if not own.isidentifier() or own != own.upper():
            raise UsageError(
                f"setting {name!r}: expected NAME=value, orders.NAME=value or orders-1.NAME=value"
            )
