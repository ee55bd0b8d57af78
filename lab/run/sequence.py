"""The run as a story: record, load, disturb, recover, settle, audit, judge, report; read it top down."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from lab.run.children.load_process import LoadFailedError
from lab.run.evidence.quiescence import Quiescence
from lab.run.guard.guard import Violation
from lab.run.progress import ProgressReporter
from lab.run.run_dir import RunDir

LOG_IN_S = 60.0
LOOK_INTERVAL_S = 0.1
INVALID = 3


class Load(Protocol):
    """The load under way (lab.run.children.load_process)."""

    def started_s(self) -> float | None: ...
    def check(self) -> None: ...
    def finish(self) -> dict[str, Any]: ...
    def kill(self) -> None: ...


class Method(Protocol):
    """The experiment under way (lab.run.children.chaos_process)."""

    def events(self) -> list[dict[str, Any]]: ...
    def ended(self) -> bool: ...
    def last_output(self) -> str: ...
    def call_off(self) -> None: ...
    def kill(self) -> None: ...


class Guard(Protocol):
    """Watches over the method (lab.run.guard.guard); it has called it off once there is a violation."""

    @property
    def violation(self) -> Violation | None: ...
    def stop(self) -> None: ...


class Steps(Protocol):
    """What a run needs of the lab (lab.run.steps has the real ones)."""

    def start_recording(self) -> None: ...
    def stop_recording(self) -> None: ...
    def start_load(self, duration_s: float) -> Load: ...
    def start_method(self) -> Method: ...
    def start_guard(self, method: Any) -> Guard: ...
    def drain(self, tick: Callable[[], None]) -> Quiescence: ...
    def left_behind(self) -> list[str]: ...
    def clear_faults(self) -> None: ...
    def keep_fault_rows(self) -> None: ...
    def audit(self) -> None: ...
    def seal(self) -> None: ...
    def judge(self) -> int: ...
    def report(self) -> None: ...


@dataclass(frozen=True)
class RunScript:
    """What is to be played: `phases` in seconds; without a method it is the load alone."""

    phases: dict[str, float]
    load_s: float
    has_method: bool = True
    recovery_from: str | None = None


@dataclass
class RunSequence:
    """One run from the first request to the report. `play` answers with the exit code."""

    script: RunScript
    run: RunDir
    engines: Steps
    reporter: ProgressReporter
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    problems: list[str] = field(default_factory=list)
    _load: Load | None = None
    _method: Method | None = None
    _guard: Guard | None = None
    _recording: bool = False

    def play(self) -> int:
        """0 held, 1 deviated, 3 invalid or interrupted. A second Ctrl-C ends it where it is.

        Raises RecorderRefusedError if the recorder refuses: then nothing was begun.
        """
        interrupted = False
        try:
            try:
                self._perform()
            except LoadFailedError as error:
                self._problem(str(error))
            except KeyboardInterrupt:
                interrupted = True
                self.run.update(interrupted=True)
                self.reporter.message(
                    "stopping: rollbacks, then the archive (Ctrl-C again: at once)"
                )
            return self._wind_up(interrupted)
        except BaseException:
            self.run.update(interrupted=True)
            raise
        finally:
            for child in (self._method, self._load):
                if child is not None:
                    child.kill()
            self._stop_recording()

    # -- the performance --------------------------------------------------------------------

    def _perform(self) -> None:
        phases = self.script.phases
        self.engines.start_recording()
        self._recording = True
        self.reporter.phase("logging in")
        self._load = self.engines.start_load(self.script.load_s)
        self._begin("warmup", self._load_started())
        self._pass(phases["warmup_s"])
        self._begin("before")
        self._pass(phases["before_s"])
        if self.script.has_method:
            self._method = self.engines.start_method()
            try:
                self._follow(self._method)
            finally:
                if self._guard is not None:
                    self._guard.stop()
                    self._heed(self._method)
            if self.run.phase == "after":
                self._pass(phases["after_s"])
        self.run.end()

    def _load_started(self) -> float:
        assert self._load is not None
        deadline = self.clock() + LOG_IN_S
        while (started_s := self._load.started_s()) is None:
            if self.clock() > deadline:
                raise LoadFailedError(f"the shoppers were not logged in after {LOG_IN_S:.0f} s")
            self._tick()
        return started_s

    def _pass(self, seconds: float) -> None:
        """Until `seconds` after the phase's start; it may have begun a while ago."""
        until_s = self.run.info["phases"][-1]["start_s"] + seconds
        while self.clock() < until_s:
            self._tick()

    def _follow(self, method: Method) -> None:
        """Until the toolkit has ended, rollbacks included; its steps begin and end phases."""
        give_up = self.run.info["phases"][0]["start_s"] + self.script.load_s
        while not method.ended():
            self._hear(method)
            self._heed(method)
            if self.clock() > give_up:
                self._problem("the method took longer than the load lasts: it was called off")
                method.call_off()
            self._tick()
        self._hear(method)
        if self.run.phase == "before":
            self.reporter.message("the method never began:\n" + method.last_output())

    def _heed(self, method: Method) -> None:
        """The guard has called the method off and every fault is off: the run goes on to its end."""
        violation = self._guard.violation if self._guard else None
        if violation is None or "guard" in self.run.info:
            return
        self.run.update(guard=violation.as_dict())
        self.reporter.message(f"the guard {violation.name!r} called it off: {violation.reason}")
        if not method.ended():
            method.call_off()

    def _hear(self, method: Method) -> None:
        for event in method.events():
            step = (event["what"], event["edge"])
            if step == ("method", "begin"):
                self._begin("method", event["time_s"])
                self._guard = self.engines.start_guard(method)
            elif step == ("method", "end"):
                if self.run.phase == "method":
                    self._begin("recovery", event["time_s"])
                self._begin("after", event["time_s"])
                if self._guard is not None:
                    self._guard.stop()  # from here on the rollbacks are at it
            elif step == ("activity", "begin") and event["name"] == self.script.recovery_from:
                self._begin("recovery", event["time_s"])
            if step == ("activity", "end") and self.run.phase in ("method", "recovery"):
                self._say_activity(event)

    def _say_activity(self, event: dict[str, Any]) -> None:
        if event.get("tolerance") is None:  # the hypothesis' own probes come each second
            failed = "" if event.get("status") == "succeeded" else f": {event.get('status')}"
            self.reporter.message(f"  {event.get('type')}: {event['name']}{failed}")

    def _begin(self, phase: str, at_s: float | None = None) -> None:
        self.run.begin(phase, at_s)
        self.reporter.phase(phase, self.script.phases.get(f"{phase}_s"))

    def _tick(self) -> None:
        if self._load is not None:
            self._load.check()
        self.reporter.tick()
        self.sleep(LOOK_INTERVAL_S)

    # -- winding up: each part is done whatever became of the others ---------------------------

    def _wind_up(self, interrupted: bool) -> int:
        if self._method is not None and not self._method.ended():
            self._method.call_off()
        self._attempt("end the load", self._finish_load)
        self._attempt("look for faults that were left behind", self._sweep)
        whole = not interrupted and not self.problems
        if whole:
            self._attempt("wait until the shop rests", self._drain)
        self.run.end()
        self._attempt("keep the faults", self.engines.keep_fault_rows)
        self._stop_recording()
        if whole:
            self.reporter.phase("audit")
            self._attempt("audit", self.engines.audit)
        self.run.update(ended_s=self.clock(), problems=self.problems)
        self.reporter.phase("sealing the archive")
        self._attempt("seal the archive", self.engines.seal)
        if interrupted:
            return INVALID
        if not self.script.has_method:
            return INVALID if self.problems else 0  # a load alone claims nothing
        self.reporter.phase("verdict")
        exit_code = self._attempt("judge", self.engines.judge)
        self._attempt("report", self.engines.report)
        return INVALID if exit_code is None or self.problems else int(exit_code)

    def _finish_load(self) -> None:
        if self._load is not None:
            self.reporter.phase("waiting for the last answers")
            self.run.update(load=self._load.finish())

    def _sweep(self) -> None:
        left = self.engines.left_behind()
        self.run.update(residue=left)
        if left:
            self.reporter.message(f"left behind, removed now: {', '.join(left)}")
        self.engines.clear_faults()

    def _stop_recording(self) -> None:
        if self._recording:
            self._recording = False
            self._attempt("stop recording", self.engines.stop_recording)

    def _drain(self) -> None:
        self.run.begin("drain")
        self.reporter.phase("waiting until the shop rests")
        quiescence = self.engines.drain(self.reporter.tick)
        self.run.end()
        self.run.update(quiescence=quiescence.as_dict())
        if not quiescence.reached:
            self.reporter.message(f"the shop did not come to rest: {quiescence.left}")

    def _attempt(self, what: str, do: Callable[[], Any]) -> Any:
        try:
            return do()
        except Exception as error:  # whatever it is, the archive must still be sealed
            self._problem(f"could not {what}: {error or type(error).__name__}")
            return None

    def _problem(self, text: str) -> None:
        self.problems.append(text)
        self.reporter.message(text)
