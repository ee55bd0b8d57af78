"""What the runtimes with a supervisor on this machine share: most operations are requests to the supervisor."""

import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import topology as topologies
from lab.edges import ADMINS, HOST, url_of, users_of
from lab.nearest import did_you_mean, nearest
from lab.runtimes import logs as log_files
from lab.runtimes import setting_names
from lab.runtimes.base import UpOptions, UpResult
from lab.runtimes.logs import ALL, LogFilter, LogLine
from lab.runtimes.posix import pids, ports
from lab.runtimes.supervisor import client
from lab.runtimes.supervisor.client import ControlError, UsageError
from lab.runtimes.supervisor.launch import DOWN_S, DetachedSupervisor, UpFailedError
from lab.state import Lab, NoLabError, StateError, home_of
from lab.topology import STORES, Code, Topology

UP_S = 90.0


@dataclass(frozen=True)
class Secrets:
    """The secrets of one lab. `passwords` are those of the stores' users, by variable (lab.edges.users_of)."""

    token: str
    signals: str
    service: str
    passwords: Mapping[str, str]
    monitoring_path: str  # of NATS


class SupervisedRuntime:
    """One lab at `port_base`, in `.lab/<port_base>/`. Subclasses start and stop it."""

    def __init__(self, port_base: int, topology: Path = topologies.DEFAULT_PATH) -> None:
        self.port_base = port_base
        self.home = home_of(port_base)
        self._topology = topology
        self._supervisor: DetachedSupervisor | None = None

    @property
    def lab(self) -> Lab:
        """The content of lab.json. Raises NoLabError."""
        return Lab.load(self.home)

    def logs(
        self,
        target: str = "",
        *,
        only: LogFilter = ALL,
        last: int | None = 50,
        follow: bool = False,
    ) -> Iterator[LogLine]:
        """The logs of a lab that is up or down. Raises UsageError if there is no log of `target`."""
        folder = self.home / "logs"
        if not log_files.files(folder, target):
            known = {path.stem for path in log_files.files(folder)}
            if not known:
                raise NoLabError(f"no logs in {folder}: start a lab with `lab up`")
            raise UsageError(f"no log of {target!r}{nearest(target, known)}")
        return log_files.read(folder, target, only=only, last=last, follow=follow)

    def kill(self, target: str, signal: str = "KILL", *, restart: bool = True) -> dict[str, Any]:
        """Raises UsageError for an unknown target or signal, ControlError if it is not running."""
        body = {"target": target, "signal": signal, "restart": restart}
        return client.call_supervisor(self.lab, "POST", "/kill", body)

    def scale(self, service: str, replicas: int) -> dict[str, Any]:
        """Raises UsageError for an unknown service or a number out of 0..10."""
        body = {"service": service, "replicas": replicas}
        return client.call_supervisor(self.lab, "POST", "/scale", body)

    def address(self, name: str) -> str:
        """Raises UsageError for an unknown name."""
        lab = self.lab
        found = {entry.name: entry.address for entry in reversed(lab.instances)}
        for entry in reversed(lab.instances):
            found[entry.service] = entry.address
        found |= lab.addresses
        if name not in found:
            raise UsageError(f"no address of {name!r}{nearest(name, found)}")
        return found[name]

    def _new_lab(
        self, topology: Topology, options: UpOptions, secrets: Secrets, http: Mapping[str, str]
    ) -> Lab:
        """The lab to start; `http` maps the name of an HTTP address to its listener."""
        numbers = topology.ports(self.port_base)
        addresses = {name: f"http://127.0.0.1:{numbers[each]}" for name, each in http.items()}
        urls = {
            store: {
                user: url_of(store, f"{HOST}:{numbers[store]}", user, secrets.passwords[variable])
                for user, variable in users_of(store, topology).items()
            }
            for store in STORES
        }
        addresses |= {store: users.pop(ADMINS[store][0]) for store, users in urls.items()}
        monitoring = f"http://{HOST}:{numbers['nats monitoring']}"
        addresses |= {
            "nats_monitoring": monitoring + secrets.monitoring_path,
            "mail_smtp": f"smtp://{HOST}:{numbers['mail_smtp']}",
        }
        if options.with_proxy:
            addresses["proxy"] = f"http://127.0.0.1:{numbers['proxy']}"
        return Lab(
            port_base=self.port_base,
            home=str(self.home),
            topology=str(topology.path.absolute()),
            started_s=time.time(),
            token=secrets.token,
            signals_token=secrets.signals,
            service_secret=secrets.service,
            settings=dict(options.settings),
            addresses=addresses,
            stores=urls,
            proxy_token=secrets.token if options.with_proxy and not options.open_proxy else "",
        )

    def _heal(self, began: float, options: UpOptions) -> UpResult:
        """A supervisor has the lock: wait until its lab is up, then start again what is stopped."""
        if options.fresh:
            raise StateError("a lab is up here: `lab down` first, then `lab up --fresh`")
        while True:
            try:
                lab = self.lab
                _check_same(lab, options)
                if client.call_supervisor(lab, "GET", "/status")["up"]:
                    answer = client.call_supervisor(lab, "POST", "/heal", {})
                    break
            except (NoLabError, ControlError):
                pass
            if time.monotonic() - began > UP_S:
                raise StateError(
                    f"the supervisor of {self.home} does not answer: `lab down` ends it"
                )
            time.sleep(0.05)
        healed = [each["name"] for each in answer["processes"]]
        if not answer["ready"]:
            names = ", ".join(healed)
            raise UpFailedError([f"could not be started again: {names}; see `lab status`"])
        return UpResult(True, round(time.monotonic() - began, 2), healed=healed)

    def _set_current(self) -> None:
        """Make this lab the default of commands without --port-base."""
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
        os.kill(entry.pid, signal.SIGTERM)
        give_up = time.monotonic() + DOWN_S
        while pids.same(entry.pid, entry.identity):
            if time.monotonic() > give_up:
                os.kill(entry.pid, signal.SIGKILL)
                give_up += DOWN_S
            time.sleep(0.01)
        return True


def check_ports(opened: Mapping[str, int]) -> None:
    """Raises UpFailedError if one of these ports (by name) is taken."""
    if taken := ports.taken(opened):
        advice = "end that process, or choose other ports with `--port-base`"
        raise UpFailedError([*map(str, taken), advice])


def check_settings(settings: Mapping[str, str], topology: Topology) -> None:
    """Raises UsageError for a setting of an unknown service, an unknown name or a value that it cannot have."""
    for name, value in settings.items():
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
        if topology.code != Code():
            continue  # a topology of other services: their settings are not known here
        if not setting_names.is_known(own):
            hint = did_you_mean(own, setting_names.names())
            raise UsageError(f"setting {name}: no service reads {own}.{hint}")
        if wrong := setting_names.problem(own, value):
            raise UsageError(f"setting {name}={value}: {wrong}")


def _check_same(lab: Lab, options: UpOptions) -> None:
    """Raises StateError if the lab that is up was started with other options."""
    if options.settings and dict(options.settings) != lab.settings:
        raise StateError(
            f"a lab is up with {lab.settings or 'no settings of its own'}: "
            "`lab down` first, then `lab up` with the new ones"
        )
    if options.with_proxy and not lab.proxied:
        raise StateError(
            "a lab is up without the fault proxy on its edges: `lab down` first, then "
            "`lab up --proxied`"
        )
