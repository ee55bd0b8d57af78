"""The sequence of a run: record, load, method, recovery, quiescence, audit, verdict, report."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from lab.analysis.activities import reason_of
from lab.run.children.locust import LoadFailedError
from lab.run.evidence.quiescence import Quiescence
from lab.run.guard.guard import Violation
from lab.run.progress import ProgressReporter
from lab.run.run_dir import RunDir

LOG_IN_S = 60.0
LOOK_INTERVAL_S = 0.1
INVALID = 3


class Load(Protocol):
    """The running load (lab.run.children.load_process)."""

    @property
    def exit_code(self) -> int | None: ...
    def started_s(self) -> float | None: ...
    def check(self) -> None: ...
    def finish(self) -> dict[str, Any]: ...
    def kill(self) -> None: ...


class Method(Protocol):
    """The running experiment (lab.run.children.chaos_process)."""

    @property
    def exit_code(self) -> int | None: ...
    def events(self) -> list[dict[str, Any]]: ...
    def ended(self) -> bool: ...
    def last_output(self) -> str: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...


class Guard(Protocol):
    """Watches the running method (lab.run.guard.guard) and has stopped it if there is a violation."""

    @property
    def violation(self) -> Violation | None: ...
    def stop(self) -> None: ...


class Steps(Protocol):
    """The steps of a run that need the lab (lab.run.steps has the real ones)."""

    def start_recording(self) -> None: ...
    def stop_recording(self) -> None: ...
    def start_load(self, duration_s: float) -> Load: ...
    def start_method(self) -> Method: ...
    def start_guard(self, method: Any) -> Guard: ...
    def drain(self, tick: Callable[[], None]) -> Quiescence: ...
    def find_residue(self) -> list[str]: ...
    def clear_faults(self) -> None: ...
    def write_fault_rows(self) -> None: ...
    def audit(self) -> None: ...
    def seal(self) -> None: ...
    def judge(self) -> int: ...
    def report(self) -> None: ...


@dataclass(frozen=True)
class RunScript:
    """The plan of a sequence: `phases` in seconds; without a method it is the load alone.

    `until_stopped`: Ctrl-C is the planned end of the load, and so is the end of its process.
    """

    phases: dict[str, float]
    load_s: float
    has_method: bool = True
    recovery_from: str | None = None
    until_stopped: bool = False


@dataclass
class RunSequence:
    """One run, from the first request to the report."""

    script: RunScript
    run: RunDir
    steps: Steps
    reporter: ProgressReporter
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    problems: list[str] = field(default_factory=list)
    _load: Load | None = None
    _method: Method | None = None
    _guard: Guard | None = None
    _recording: bool = False

    def execute(self) -> int:
        """The exit code: 0 held, 1 deviated, 3 invalid or interrupted, 4 undecided.

        A second Ctrl-C stops at once, without rollbacks and archive. Raises RecorderRefusedError if
        the recorder refuses; nothing has started then.
        """
        interrupted = False
        try:
            try:
                self._run_phases()
            except LoadFailedError as error:
                self._problem(str(error))
            except KeyboardInterrupt:
                interrupted = True
                self.run.update(interrupted=True)
                self.reporter.message(
                    "stopping: rollbacks, then the archive (a second Ctrl-C stops at once)"
                )
            return self._finish(interrupted)
        except BaseException:
            self.run.update(interrupted=True)
            raise
        finally:
            for child in (self._method, self._load):
                if child is not None:
                    child.kill()
            self._stop_recording()

    # -- phases -------------------------------------------------------------------------------

    def _run_phases(self) -> None:
        self.steps.start_recording()
        self._recording = True
        self.reporter.phase("logging in")
        self._load = self.steps.start_load(self.script.load_s)
        if self.script.has_method:
            self._run_method(self.script.phases)
        else:
            self._begin("load", self._load_started())
            self._wait_for_load()
        self.run.end()

    def _run_method(self, phases: dict[str, float]) -> None:
        self._begin("warmup", self._load_started())
        self._wait_in_phase(phases["warmup_s"])
        self._begin("before")
        self._wait_in_phase(phases["before_s"])
        self._method = self.steps.start_method()
        try:
            self._follow_method(self._method)
        finally:
            if self._guard is not None:
                self._guard.stop()
                self._check_guard(self._method)
        if self.run.phase == "after":
            self._wait_in_phase(phases["after_s"])

    def _wait_for_load(self) -> None:
        if not self.script.until_stopped:
            self._wait_in_phase(self.script.load_s)
            return
        with suppress(KeyboardInterrupt):
            while self._load is not None and self._load.exit_code is None:
                self._tick()

    def _load_started(self) -> float:
        assert self._load is not None
        deadline = self.clock() + LOG_IN_S
        while (started_s := self._load.started_s()) is None:
            if self.clock() > deadline:
                raise LoadFailedError(f"the shoppers were not logged in after {LOG_IN_S:.0f} s")
            self._tick()
        return started_s

    def _wait_in_phase(self, seconds: float) -> None:
        """Waits until the phase has lasted `seconds`; it may have started a while ago."""
        until_s = self.run.info["phases"][-1]["start_s"] + seconds
        while self.clock() < until_s:
            self._tick()

    def _follow_method(self, method: Method) -> None:
        """Waits until the toolkit has ended, rollbacks included; its events start and end phases."""
        give_up = self.run.info["phases"][0]["start_s"] + self.script.load_s
        while not method.ended():
            self._read_events(method)
            self._check_guard(method)
            if self.clock() > give_up:
                self._problem("the method took longer than the load lasts and was stopped")
                method.stop()
            self._tick()
        self._read_events(method)
        if self.run.phase == "before":
            self.reporter.message("the method did not start:\n" + method.last_output())

    def _check_guard(self, method: Method) -> None:
        """After a violation every fault is off: stops the method, and the run continues."""
        violation = self._guard.violation if self._guard else None
        if violation is None or "guard" in self.run.info:
            return
        self.run.update(guard=asdict(violation))
        self.reporter.message(
            f"the guard {violation.name!r} stopped the method: {violation.reason}"
        )
        if not method.ended():
            method.stop()

    def _read_events(self, method: Method) -> None:
        for event in method.events():
            step = (event["what"], event["edge"])
            if step == ("method", "begin"):
                self._begin("method", event["time_s"])
                self._guard = self.steps.start_guard(method)
            elif step == ("method", "end"):
                if self.run.phase == "method":
                    self._begin("recovery", event["time_s"])
                self._begin("after", event["time_s"])
                if self._guard is not None:
                    self._guard.stop()  # the rollbacks follow
            elif step == ("activity", "begin") and event["name"] == self.script.recovery_from:
                self._begin("recovery", event["time_s"])
            if step == ("activity", "end") and self.run.phase in ("method", "recovery"):
                self._report_activity(event)

    def _report_activity(self, event: dict[str, Any]) -> None:
        if event.get("tolerance") is None:  # the hypothesis' probes run each second
            failed = "" if event.get("status") == "succeeded" else f": {event.get('status')}"
            if reason := reason_of(event.get("exception")):
                failed += f" ({reason})"
            self.reporter.message(f"  {event.get('type')}: {event['name']}{failed}")

    def _begin(self, phase: str, at_s: float | None = None) -> None:
        self.run.begin(phase, at_s)
        self.reporter.phase(phase, self.script.phases.get(f"{phase}_s"))

    def _tick(self) -> None:
        if self._load is not None:
            self._load.check()
        self.reporter.tick()
        self.sleep(LOOK_INTERVAL_S)

    # -- after the phases: each step runs even if another one failed ----------------------------

    def _finish(self, interrupted: bool) -> int:
        if self._method is not None and not self._method.ended():
            self._method.stop()
        self._try("end the load", self._finish_load)
        self._try("look for residue of faults", self._clear_residue)
        complete = not interrupted and not self.problems
        if complete:
            self._try("wait for quiescence", self._drain)
        self.run.end()
        self._try("write the faults", self.steps.write_fault_rows)
        self._stop_recording()
        if complete:
            self.reporter.phase("audit")
            self._try("audit", self.steps.audit)
        exit_codes = {"chaos": self._method, "load": self._load}
        self.run.update(
            ended_s=self.clock(),
            problems=self.problems,
            exit_codes={name: child.exit_code for name, child in exit_codes.items() if child},
        )
        self.reporter.phase("sealing the archive")
        self._try("seal the archive", self.steps.seal)
        if interrupted:
            return INVALID
        self.reporter.phase("verdict")
        exit_code = self._try("judge", self.steps.judge)
        self._try("report", self.steps.report)
        return INVALID if exit_code is None or self.problems else int(exit_code)

    def _finish_load(self) -> None:
        if self._load is not None:
            self.reporter.phase("waiting for the last answers")
            self.run.update(load=self._load.finish())

    def _clear_residue(self) -> None:
        residue = self.steps.find_residue()
        self.run.update(residue=residue)
        if residue:
            self.reporter.message(f"residue of faults, removed now: {', '.join(residue)}")
        self.steps.clear_faults()

    def _stop_recording(self) -> None:
        if self._recording:
            self._recording = False
            self._try("stop recording", self.steps.stop_recording)

    def _drain(self) -> None:
        self.run.begin("drain")
        self.reporter.phase("waiting for quiescence")
        quiescence = self.steps.drain(self.reporter.tick)
        self.run.end()
        self.run.update(quiescence=asdict(quiescence))
        if not quiescence.reached:
            self.reporter.message(f"quiescence not reached: {quiescence.left}")

    def _try(self, what: str, do: Callable[[], Any]) -> Any:
        try:
            return do()
        except Exception as error:  # any error: the archive must still be sealed
            self._problem(f"could not {what}: {error or type(error).__name__}")
            return None

    def _problem(self, text: str) -> None:
        self.problems.append(text)
        self.reporter.message(text)
