"""The base of every runtime's supervisor: its processes, lab.json, progress and log."""

import asyncio
import json
import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, ClassVar

from chassis.fault_record import FaultRecord
from lab.runtimes.posix import pids
from lab.runtimes.supervisor.managed_process import ManagedProcess, State
from lab.runtimes.supervisor.process_faults import ProcessFaults
from lab.state import Entry, Lab
from lab.topology import Topology

LIVE_S = 0.5


class StartFailedError(Exception):
    """The lab cannot start; one line for each problem."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(self.problems))


class Supervisor(ABC):
    """Starts or takes over the processes of a lab and supervises them. Requires a running event loop."""

    optional_kinds: ClassVar[tuple[str, ...]] = ()
    """Kinds of processes that need not be ready for the lab to be ready."""

    def __init__(self, lab: Lab, topology: Topology) -> None:
        self.lab = lab
        self.topology = topology
        self.processes: Mapping[str, ManagedProcess] = {}
        self.faults = ProcessFaults(self._report_fault)
        self.up = False
        self.stop = asyncio.Event()

    # -- implemented by each runtime --------------------------------------------------------------

    @abstractmethod
    async def start(self) -> None:
        """Start everything and wait until it is ready. Raises StartFailedError."""

    @abstractmethod
    async def shut_down(self) -> None:
        """Stop or release everything that was started."""

    @abstractmethod
    async def scale(self, name: str, replicas: int) -> list[ManagedProcess]:
        """Run this many instances; returns when the new ones are ready or have failed."""

    @abstractmethod
    def edge_ports(self, instance: str) -> dict[str, int]:
        """The ports of this host that an instance's edges use, by edge."""

    # -- requests of the control API --------------------------------------------------------------

    async def status(self, *, live: bool) -> dict[str, Any]:
        """Facts of every process; `live` repeats the readiness check of each that is ready."""
        processes = list(self.processes.values())
        facts = [process.facts() for process in processes]
        if live:
            answers = await asyncio.gather(*(_answers(process) for process in processes))
            for each, answered in zip(facts, answers, strict=True):
                if each["state"] == "ready" and not answered:
                    each["state"] = "unready"
        counted = [each for each in facts if each["kind"] not in self.optional_kinds]
        return {
            "up": self.up,
            "ready": self.up and all(each["state"] == "ready" for each in counted),
            "uptime_s": round(time.time() - self.lab.started_s, 1),
            "port_base": self.lab.port_base,
            "home": self.lab.home,
            "processes": facts,
        }

    async def restart(self, processes: list[ManagedProcess]) -> None:
        """Stop gracefully, start again at once, wait until ready."""
        await asyncio.gather(*(process.stop() for process in processes))
        for process in processes:
            process.start()
        await asyncio.gather(*(process.wait_ready() for process in processes))

    def instances(self, service: str) -> list[ManagedProcess]:
        """The instances of one service, in the order of their numbers."""
        found = [each for each in self.processes.values() if each.spec.service == service]
        return sorted(found, key=lambda process: process.spec.port)

    # -- book-keeping -------------------------------------------------------------------------------

    def _changed(self, process: ManagedProcess) -> None:
        name, state = process.spec.name, str(process.state)
        self._save()
        if not self.up:
            self.report({"name": name, "state": state, "after_s": process.ready_after_s})
        if process.state is State.BACKOFF:
            how = process.problem or f"ended with {process.last_exit}"
            self.log("warning", f"{name} {how}; {self._after_exit(process)}", process=name)
        else:
            self.log("info", f"{name} is {state}", process=name, pid=process.pid)

    @abstractmethod
    def _after_exit(self, process: ManagedProcess) -> str:
        """What happens after this process has ended, for the log."""

    def _save(self) -> None:
        """Update lab.json."""
        self.lab.servers = [_entry(name, pid) for name, pid in self._helpers().items()]
        self.lab.instances = []
        for process in self.processes.values():
            spec = process.spec
            address = f"http://127.0.0.1:{spec.port}" if spec.service else f"127.0.0.1:{spec.port}"
            entry = Entry(spec.name, process.pid, process.identity, spec.service, address)
            (self.lab.instances if spec.service else self.lab.servers).append(entry)
        try:
            self._write()
        except OSError as error:
            self.log("error", f"lab.json could not be written: {error}")

    def _helpers(self) -> dict[str, int]:
        """The pids of the lab's own processes, by name."""
        return {"supervisor": os.getpid()}

    def _write(self) -> None:
        self.lab.save()

    def _report_fault(self, fault: FaultRecord, phase: str) -> None:
        self.log(
            *("warning", f"{fault.kind} of {fault.target}: {phase}"),
            **{"event": "fault", "phase": phase, **fault.to_row()},
        )

    def log(self, level: str, message: str, **fields: Any) -> None:
        """One line of logs/supervisor.jsonl."""
        line = {"time": time.time(), "level": level, "service": "lab", "instance": "supervisor"}
        print(json.dumps({**line, "message": message, **fields}), file=sys.stderr, flush=True)

    def report(self, progress: dict[str, Any]) -> None:
        """One line of progress for `lab up`."""
        with suppress(OSError, ValueError):  # `lab up` has ended: the end of stdin reports that
            print(json.dumps(progress), flush=True)


def _entry(name: str, pid: int) -> Entry:
    return Entry(name, pid, pids.identity(pid))


async def _answers(process: ManagedProcess) -> bool:
    if process.state is not State.READY:
        return False
    with suppress(TimeoutError):
        return await asyncio.wait_for(process.spec.is_ready(), LIVE_S)
    return False
