"""The default runtime: every service and server a local process, no Docker, no root."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lab import topology as topologies
from lab.edges import edges_of
from lab.kept_policies import kept_file
from lab.runtimes import client, leftovers, memory, observers, pids, ports
from lab.runtimes import logs as log_files
from lab.runtimes.client import ControlError, UsageError
from lab.runtimes.keeper import RESTART_DELAY_S
from lab.runtimes.logs import LogLine
from lab.runtimes.runtime import Progress, Up
from lab.runtimes.servers import POSTGRES_USER, postgres_url
from lab.state import Lab, NoLab, StateError, home_of, kept_secret, new_secret
from lab.topology import PROJECT, Topology, nearest

FREE_BYTES_MIN = 300 * 1024 * 1024
DOWN_S = 10.0
UP_S = 90.0
NOT_OURS = "locust_ui"  # opened by `lab load --ui`, not by `lab up`


class UpFailed(StateError):
    """The lab did not come up; it has been taken down again. `problems` says why."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class ProcessesRuntime:
    """One lab on this machine, at `port_base`, in `.lab/<port_base>/`."""

    def __init__(self, port_base: int, topology: Path = topologies.DEFAULT_PATH) -> None:
        self.port_base = port_base
        self.home = home_of(port_base)
        self._topology = topology
        self._supervisor: subprocess.Popen[bytes] | None = None

    @property
    def lab(self) -> Lab:
        """What lab.json says. Raises NoLab."""
        return Lab.load(self.home)

    # -- the seven verbs --------------------------------------------------------------------

    def up(
        self,
        settings: Mapping[str, str] | None = None,
        *,
        fresh: bool = False,
        proxied: bool = False,
        open_proxy: bool = False,
        observed_by: Collection[str] = (),
        restart_delay_s: float = RESTART_DELAY_S,
        on_progress: Progress = lambda progress: None,
    ) -> Up:
        """Start everything and wait until it is ready, about 4 s; heals what already runs.

        `settings` go to every service (`RESILIENCE`), one (`orders.OUTBOX`) or one instance (`orders-1.ARM`);
        `fresh` forgets the stores' data. `observed_by` names unpacked observers to use, beside those on
        PATH. `proxied` puts the fault proxy on every edge; `open_proxy` also lets
        clients use its API that know no token. Raises TopologyError, UpFailed, StateError.
        """
        began = time.monotonic()
        topology = topologies.load(self._topology)
        _check_settings(settings or {}, topology)
        proxied = proxied or open_proxy
        with self._folder() as lock:
            if lock is None:
                return self._heal(began, fresh, dict(settings or {}), proxied)
            cleaned = leftovers.clean(self.home)
            if busy := ports.taken(_ports_at_first(topology, self.port_base, proxied)):
                advice = "end it, or choose other ports with `--port-base`"
                raise UpFailed([*map(str, busy), advice])
            self._prepare(fresh)
            lab = self._new_lab(topology, dict(settings or {}), observed_by)
            if proxied:
                lab.addresses["proxy"] = (
                    f"http://127.0.0.1:{topology.ports(self.port_base)['proxy']}"
                )
                lab.proxy_token = "" if open_proxy else lab.token
            self._supervise(lab, restart_delay_s, lock, on_progress)
        try:
            (self.home.parent / "current").write_text(f"{self.port_base}\n")
            return Up(False, round(time.monotonic() - began, 2), cleaned)
        except KeyboardInterrupt:
            self.down()
            raise

    def down(self) -> bool:
        """End everything, in order if it can be had; what was stored stays for the next `up`."""
        was_up = self._end_supervisor()
        with self._folder() as lock:
            if lock is None:
                raise StateError(f"the lab in {self.home} was started again meanwhile")
            left = leftovers.clean(self.home)
        current = self.home.parent / "current"
        with suppress(OSError):
            if current.read_text().strip() == str(self.port_base):
                current.unlink()
        if self._supervisor is not None:
            self._supervisor.wait()
        return was_up or bool(left)

    def status(self, *, live: bool = True) -> dict[str, Any]:
        """As the supervisor sees it, with memory (PSS in MB where the platform tells) and totals."""
        lab = self.lab
        status = client.ask(lab, "GET", f"/status?live={int(live)}")
        own = [entry for entry in lab.servers if entry.name in ("supervisor", "zygote")]
        for entry in own:
            facts = {"name": entry.name, "service": "", "kind": "lab", "state": "ready"}
            status["processes"].append(facts | {"pid": entry.pid, "port": None, "restarts": 0})
        for process in status["processes"]:
            # a server's workers are its own; the children of the supervisor are listed themselves
            workers = process["kind"] == "server"
            pid = process["pid"]
            process["memory_mb"] = memory.pss_mb(pid, with_children=workers) if pid else 0.0
        status["memory_mb"] = round(sum(each["memory_mb"] for each in status["processes"]), 1)
        return status

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
                raise NoLab(f"no logs in {folder}: start a lab with `lab up`")
            raise UsageError(f"no log of {target!r}{nearest(target, known)}")
        return log_files.read(folder, target, level=level, last=last, follow=follow)

    def kill(self, target: str, signal: str = "KILL", *, restart: bool = True) -> dict[str, Any]:
        """Raises UsageError for an unknown target or signal, ControlError if it is not running."""
        body = {"target": target, "signal": signal, "restart": restart}
        return client.ask(self.lab, "POST", "/kill", body)

    def scale(self, service: str, replicas: int) -> dict[str, Any]:
        """Raises UsageError for an unknown service or a number out of 0..10."""
        return client.ask(self.lab, "POST", "/scale", {"service": service, "replicas": replicas})

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

    # -- parts of up and down ---------------------------------------------------------------

    @contextmanager
    def _folder(self) -> Iterator[int | None]:
        """The lab's folder, and its lock as a descriptor; None while a supervisor has it."""
        try:
            self.home.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.home / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StateError(
                f"{self.home} cannot be written ({error.strerror}): make it writable, or choose "
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

    def _prepare(self, fresh: bool) -> None:
        """Folders, room on the disk, the last run's logs aside. Raises StateError."""
        free = shutil.disk_usage(self.home).free
        if free < FREE_BYTES_MIN:
            raise StateError(
                f"{self.home} has {free >> 20} MB left on its disk, a lab needs "
                f"{FREE_BYTES_MIN >> 20}: make room, or choose another place with LAB_DIR"
            )
        try:
            if fresh:
                for name in ("data", "mail"):
                    shutil.rmtree(self.home / name, ignore_errors=True)
            logs, previous = self.home / "logs", self.home / "logs.previous"
            shutil.rmtree(previous, ignore_errors=True)
            if logs.exists():
                logs.rename(previous)
            for name in ("logs", "data", "mail", "run"):
                (self.home / name).mkdir(exist_ok=True)
            kept_file(self.home).unlink(missing_ok=True)  # a lab begins as its settings say
        except OSError as error:
            raise StateError(f"{self.home} cannot be written: {error}") from None

    def _new_lab(
        self, topology: Topology, settings: dict[str, str], observed_by: Collection[str] = ()
    ) -> Lab:
        numbers = topology.ports(self.port_base)
        http = {"ingress": "nginx"} | {
            name: name for name in ("mail_page", "recorder", "control", "locust_ui")
        }
        there = observers.chosen(numbers, observed_by)
        http |= {name: name for name in there}
        addresses = {name: f"http://127.0.0.1:{numbers[port]}" for name, port in http.items()}
        # it was set when the cluster was made, so it lives as long as the cluster
        admin = kept_secret(self.home / "data" / "postgres.secret")
        postgres = numbers["postgres"]
        addresses |= {
            "postgres": postgres_url(postgres, POSTGRES_USER, admin, "postgres"),
            "valkey": f"redis://127.0.0.1:{numbers['valkey']}/0",
            "nats": f"nats://127.0.0.1:{numbers['nats']}",
            "nats_monitoring": f"http://127.0.0.1:{numbers['nats monitoring']}",
            "mail_smtp": f"smtp://127.0.0.1:{numbers['mail_smtp']}",
        }
        stored = [each.name for each in topology.services.values() if "postgres" in each.stores]
        return Lab(
            port_base=self.port_base,
            home=str(self.home),
            topology=str(topology.path.absolute()),
            started_s=time.time(),
            token=new_secret(),
            service_secret=new_secret(),
            settings=settings,
            addresses=addresses,
            databases={name: postgres_url(postgres, name, new_secret(), name) for name in stored},
        )

    def _supervise(
        self, lab: Lab, restart_delay_s: float, lock: int, on_progress: Progress
    ) -> None:
        """Start the supervisor; whatever interrupts us before it is up takes it down again."""
        order = {"lab": asdict(lab), "restart_delay_s": restart_delay_s}
        with (self.home / "logs" / "supervisor.jsonl").open("ab") as log:
            supervisor = self._supervisor = subprocess.Popen(
                [sys.executable, "-m", "lab.runtimes.supervisor"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=self.home,
                env=_environment(),
                start_new_session=True,  # a Ctrl-C is for us alone
                pass_fds=[lock],
            )
        assert supervisor.stdin is not None
        assert supervisor.stdout is not None
        try:
            supervisor.stdin.write(json.dumps(order).encode() + b"\n")
            supervisor.stdin.flush()
            for line in supervisor.stdout:
                told = json.loads(line)
                if "up" in told:
                    supervisor.stdin.write(b"release\n")
                    supervisor.stdin.flush()
                    return
                if "failed" in told:
                    raise UpFailed(told["failed"])
                on_progress(told)
            tail = (self.home / "logs" / "supervisor.jsonl").read_text()[-2000:]
            raise UpFailed([f"the supervisor ended before the lab was up:\n{tail}"])
        except BaseException:
            supervisor.stdin.close()
            supervisor.terminate()  # it may have been released a moment ago: then it does not heed stdin
            try:
                supervisor.wait(DOWN_S)
            except subprocess.TimeoutExpired:
                supervisor.kill()
                supervisor.wait()
            leftovers.clean(self.home)
            raise
        finally:
            supervisor.stdout.close()
            supervisor.stdin.close()

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
                if client.ask(lab, "GET", "/status")["up"]:
                    answer = client.ask(lab, "POST", "/heal", {})
                    break
            except (NoLab, ControlError):
                pass
            if time.monotonic() - began > UP_S:
                raise StateError(
                    f"a supervisor has {self.home} but does not answer: `lab down` ends it"
                )
            time.sleep(0.05)
        healed = [each["name"] for each in answer["processes"]]
        if not answer["ready"]:
            raise UpFailed([f"could not be started again: {', '.join(healed)}; see `lab status`"])
        return Up(True, round(time.monotonic() - began, 2), healed=healed)

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


def _environment() -> dict[str, str]:
    """Ours, with the source roots: a checkout works without being installed."""
    roots = [str(PROJECT / "system"), str(PROJECT)]
    if before := os.environ.get("PYTHONPATH"):
        roots.append(before)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(roots)}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # without bytecode the next start is 4x slower
    return env


def _ports_at_first(topology: Topology, port_base: int, proxied: bool) -> dict[str, int]:
    """What `up` opens, by who listens."""
    not_ours = {NOT_OURS} if proxied else {NOT_OURS, "proxy"}
    numbers = topology.ports(port_base)
    opened = {name: port for name, port in numbers.items() if name not in not_ours}
    if proxied:
        there = edges_of(topology, numbers)
        opened |= {edge.name: port_base + edge.offset for edge in there}
    return opened


def _check_settings(settings: Mapping[str, str], topology: Topology) -> None:
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
