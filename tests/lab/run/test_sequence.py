"""The sequence of a run with stub steps: phases, exit codes, interruption, and an archive in every case."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.run.children.locust import LoadFailedError
from lab.run.evidence.quiescence import STILL_S, Quiescence, drain
from lab.run.evidence.recorder_client import RecorderRefusedError
from lab.run.guard.guard import Violation
from lab.run.progress import SilentReporter
from lab.run.run_dir import RunDir, is_running
from lab.run.sequence import RunScript, RunSequence

PHASES = {"warmup_s": 2, "before_s": 5, "method_s": 10, "recovery_s": 5, "after_s": 4}


class Clock:
    """Time that passes only by sleeping; `at` calls something when its time has come."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.due: list[tuple[float, Callable[[], None]]] = []

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        while self.due and self.due[0][0] <= self.now_s:
            self.due.pop(0)[1]()

    def at(self, at_s: float, do: Callable[[], None]) -> None:
        self.due = sorted([*self.due, (at_s, do)], key=lambda each: each[0])


class StubLoad:
    def __init__(self, clock: Clock) -> None:
        self.clock, self.error, self.killed = clock, "", False
        self.exit_code: int | None = None
        self.start_s = clock() + 1

    def started_s(self) -> float | None:
        self.check()
        return self.start_s if self.clock() >= self.start_s else None

    def check(self) -> None:
        if self.error:
            raise LoadFailedError(self.error)

    def finish(self) -> dict[str, Any]:
        self.check()
        self.exit_code = 0
        return {"planned": 10, "sent": 10, "dropped": 0}

    def kill(self) -> None:
        self.killed = True


class StubMethod:
    """Returns its events at their times (seconds after its start) and ends with the last one."""

    exit_code = 0

    def __init__(self, clock: Clock, events: list[tuple[float, str, str, str]]) -> None:
        self.clock, self.start_s = clock, clock()
        self.coming: list[dict[str, Any]] = [
            {
                "time_s": self.start_s + at,
                "what": what,
                "edge": edge,
                "name": name,
                "type": "action",
            }
            for at, what, edge, name in events
        ]
        self.stopped = False

    def events(self) -> list[dict[str, Any]]:
        due = [event for event in self.coming if event["time_s"] <= self.clock()]
        self.coming = [event for event in self.coming if event not in due]
        return due

    def ended(self) -> bool:
        return self.stopped or not self.coming

    def last_output(self) -> str:
        return "the last output"

    def stop(self) -> None:
        self.stopped = True

    def kill(self) -> None: ...


EVENTS = [
    (1.0, "hypothesis", "begin", "steady"),
    (1.5, "method", "begin", "title"),
    (1.6, "activity", "begin", "break"),
    (2.0, "activity", "end", "break"),
    (9.0, "activity", "begin", "mend"),
    (9.5, "activity", "begin", "wait"),
    (12.0, "method", "end", "title"),
    (13.0, "rollbacks", "end", "title"),
]


class StubGuard:
    def __init__(self, violated_at_s: float, clock: Clock) -> None:
        self.clock, self.at_s, self.stopped = clock, violated_at_s, False

    @property
    def violation(self) -> Violation | None:
        if self.clock() < self.at_s:
            return None
        return Violation("orders fail", "error_ratio 0.7", self.at_s, self.at_s + 0.2)

    def stop(self) -> None:
        self.stopped = True


class StubSteps:
    def __init__(self, clock: Clock, events: list[tuple[float, str, str, str]] = EVENTS) -> None:
        self.clock, self.plot, self.verdict = clock, events, 0
        self.calls: list[str] = []
        self.failing: set[str] = set()
        self.left: list[str] = []
        self.rests = True
        self.violated_at_s = float("inf")

    def _do(self, call: str) -> None:
        self.calls.append(call)
        if call in self.failing:
            raise OSError(f"{call} broke")

    def start_recording(self) -> None:
        if "start_recording" in self.failing:
            raise RecorderRefusedError("another run is recorded")
        self._do("start_recording")

    def stop_recording(self) -> None:
        self._do("stop_recording")

    def start_load(self, duration_s: float) -> StubLoad:
        self._do("start_load")
        self.load = StubLoad(self.clock)
        return self.load

    def start_method(self) -> StubMethod:
        self._do("start_method")
        self.method = StubMethod(self.clock, self.plot)
        return self.method

    def start_guard(self, method: StubMethod) -> StubGuard:
        self.guard = StubGuard(self.violated_at_s, self.clock)
        return self.guard

    def drain(self, tick: Any) -> Quiescence:
        self._do("drain")
        return Quiescence(self.rests, 1.0)

    def find_residue(self) -> list[str]:
        self._do("find_residue")
        return self.left

    def clear_faults(self) -> None:
        self._do("clear_faults")

    def write_fault_rows(self) -> None:
        self._do("write_fault_rows")

    def audit(self) -> None:
        self._do("audit")

    def seal(self) -> None:
        self._do("seal")

    def judge(self) -> int:
        self._do("judge")
        return self.verdict

    def report(self) -> None:
        self._do("report")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def steps(clock: Clock) -> StubSteps:
    return StubSteps(clock)


@pytest.fixture
def run(tmp_path: Path, clock: Clock) -> RunDir:
    return RunDir.make("payments_slow", 7, root=tmp_path, clock=clock)


def sequence(run: RunDir, steps: StubSteps, clock: Clock, **script: Any) -> RunSequence:
    fields: dict[str, Any] = {"phases": PHASES, "load_s": 100, "recovery_from": "wait", **script}
    return RunSequence(RunScript(**fields), run, steps, SilentReporter(), clock, clock.sleep)


def written(run: RunDir) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run.path / "run.json").read_text())
    return content


def lengths(run: RunDir) -> dict[str, float]:
    return {p["name"]: round(p["end_s"] - p["start_s"], 1) for p in written(run)["phases"]}


def test_the_phases_follow_the_load_and_the_events_of_the_toolkit(
    run: RunDir, steps: StubSteps, clock: Clock
) -> None:
    assert sequence(run, steps, clock).execute() == 0
    assert lengths(run) == {
        **{"warmup": 2.0, "before": 6.5, "method": 8.0, "recovery": 2.5, "after": 4.0},
        "drain": 0.0,
    }
    starts = [phase["start_s"] for phase in written(run)["phases"]]
    assert starts == sorted(starts)
    assert starts[0] == steps.load.start_s


def test_the_steps_run_in_order(run: RunDir, steps: StubSteps, clock: Clock) -> None:
    sequence(run, steps, clock).execute()
    assert steps.calls == [
        *("start_recording", "start_load", "start_method", "find_residue", "clear_faults", "drain"),
        *("write_fault_rows", "stop_recording", "audit", "seal", "judge", "report"),
    ]
    assert written(run)["load"] == {"planned": 10, "sent": 10, "dropped": 0}
    assert written(run)["quiescence"]["reached"] is True
    assert written(run)["exit_codes"] == {"chaos": 0, "load": 0}


def test_without_recovery_from_the_method_phase_lasts_as_long_as_the_method(
    run: RunDir, steps: StubSteps, clock: Clock
) -> None:
    sequence(run, steps, clock, recovery_from=None).execute()
    assert lengths(run)["method"] == 10.5
    assert lengths(run)["recovery"] == 0.0


@pytest.mark.parametrize("verdict", [0, 1, 3])
def test_the_exit_code_is_that_of_the_verdict(
    run: RunDir, steps: StubSteps, clock: Clock, verdict: int
) -> None:
    steps.verdict = verdict
    assert sequence(run, steps, clock).execute() == verdict


def test_the_first_ctrl_c_runs_rollbacks_clears_faults_and_seals_the_archive(
    run: RunDir, steps: StubSteps, clock: Clock
) -> None:
    def ctrl_c() -> None:
        raise KeyboardInterrupt

    clock.at(1000 + 12, ctrl_c)
    assert sequence(run, steps, clock).execute() == 3
    assert steps.method.stopped
    assert steps.calls[-5:] == [
        *("find_residue", "clear_faults", "write_fault_rows", "stop_recording", "seal")
    ]
    assert written(run)["interrupted"] is True
    assert written(run)["load"]["sent"] == 10
    assert all(phase["end_s"] for phase in written(run)["phases"])


def test_a_second_ctrl_c_stops_at_once_and_kills_children_and_stops_recording(
    run: RunDir, steps: StubSteps, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ctrl_c(*_: object) -> None:
        raise KeyboardInterrupt

    clock.at(1000 + 12, ctrl_c)
    monkeypatch.setattr(steps, "find_residue", ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        sequence(run, steps, clock).execute()
    assert steps.load.killed
    assert steps.calls[-1] == "stop_recording"
    assert written(run)["interrupted"] is True


def test_a_load_that_ends_early_makes_the_run_invalid_and_the_archive_is_sealed(
    run: RunDir, steps: StubSteps, clock: Clock
) -> None:
    def break_load() -> None:
        steps.load.error = "the load ended early"

    clock.at(1000 + 4, break_load)
    assert sequence(run, steps, clock).execute() == 3
    assert "start_method" not in steps.calls
    assert "seal" in steps.calls
    assert "audit" not in steps.calls
    assert "the load ended early" in written(run)["problems"][0]


def test_a_recorder_that_refuses_is_an_error_and_no_step_runs(
    run: RunDir, steps: StubSteps, clock: Clock
) -> None:
    steps.failing = {"start_recording"}
    with pytest.raises(RecorderRefusedError, match="another run"):
        sequence(run, steps, clock).execute()
    assert steps.calls == []


@pytest.mark.parametrize("part", ["audit", "drain", "write_fault_rows", "stop_recording", "report"])
def test_a_step_that_fails_makes_the_run_invalid_and_the_archive_is_sealed(
    run: RunDir, steps: StubSteps, clock: Clock, part: str
) -> None:
    steps.failing = {part}
    assert sequence(run, steps, clock).execute() == 3
    assert steps.calls.count("seal") == 1


def test_residue_of_faults_is_recorded_and_removed(
    run: RunDir, steps: StubSteps, clock: Clock
) -> None:
    steps.left = ["latency-1 on bank-1"]
    sequence(run, steps, clock).execute()
    assert written(run)["residue"] == ["latency-1 on bank-1"]
    assert "clear_faults" in steps.calls


def test_a_method_that_outlasts_the_load_is_stopped(
    run: RunDir, steps: StubSteps, clock: Clock
) -> None:
    steps.plot = [*EVENTS[:-2], (500.0, "method", "end", "title")]
    assert sequence(run, steps, clock).execute() == 3
    assert steps.method.stopped


def test_a_steady_state_that_is_not_met_ends_the_run_before_the_method(
    run: RunDir, steps: StubSteps, clock: Clock
) -> None:
    steps.plot = EVENTS[:1]
    steps.verdict = 3
    assert sequence(run, steps, clock).execute() == 3
    assert "method" not in lengths(run)


def test_a_load_without_an_experiment_has_no_method_and_is_judged(
    run: RunDir, steps: StubSteps, clock: Clock
) -> None:
    steps.verdict = 4
    assert sequence(run, steps, clock, phases={"load_s": 100}, has_method=False).execute() == 4
    assert lengths(run) == pytest.approx({"load": 100.0, "drain": 0.0}, abs=0.2)
    assert "start_method" not in steps.calls
    assert steps.calls[-2:] == ["judge", "report"]


@pytest.mark.parametrize("ends_by", ["Ctrl-C", "its process"])
def test_a_load_until_stopped_ends_with_its_verdict_and_is_not_interrupted(
    run: RunDir, steps: StubSteps, clock: Clock, ends_by: str
) -> None:
    def stop() -> None:
        if ends_by == "Ctrl-C":
            raise KeyboardInterrupt
        steps.load.exit_code = 0

    clock.at(1000 + 21, stop)
    script = {"phases": {}, "has_method": False, "until_stopped": True}
    assert sequence(run, steps, clock, **script).execute() == 0
    assert lengths(run)["load"] == pytest.approx(20.0, abs=0.2)
    assert written(run)["interrupted"] is False
    assert {"drain", "audit", "judge", "report"} <= set(steps.calls)


def test_two_runs_within_one_second_have_different_directories(
    tmp_path: Path, clock: Clock
) -> None:
    first, second = (RunDir.make("x", 1, root=tmp_path, clock=clock) for _ in range(2))
    assert first.path != second.path


def test_a_run_is_running_until_it_is_closed(run: RunDir) -> None:
    assert is_running(run.path)
    run.close()
    assert not is_running(run.path)


def test_a_run_whose_process_has_ended_is_not_running(run: RunDir) -> None:
    (run.path / "runner.json").write_text('{"pid": 1, "identity": "another"}')
    assert not is_running(run.path)


def test_quiescence_is_reached_when_no_work_was_pending_for_a_while(clock: Clock) -> None:
    looks: Iterator[dict[str, float | None]] = iter(
        [{"orders-1 saga_pending": 2.0}, {}, {"users-1 outbox_pending": 1.0}]
    )
    rest = drain(lambda: next(looks, {}), deadline_s=30, clock=clock, sleep=clock.sleep)
    assert rest.reached
    assert rest.waited_s == 1.5 + STILL_S


def test_without_data_of_a_gauge_quiescence_is_not_reached(clock: Clock) -> None:
    no_data: dict[str, float | None] = {"notifications-1 inbox_lag": None}
    rest = drain(lambda: no_data, deadline_s=5, clock=clock, sleep=clock.sleep)
    assert not rest.reached
    assert rest.left == no_data


def test_a_guard_stops_the_method_and_the_run_continues_to_its_verdict(
    run: RunDir, steps: StubSteps, clock: Clock
) -> None:
    steps.violated_at_s, steps.verdict = 1000 + 14, 1
    assert sequence(run, steps, clock).execute() == 1
    assert steps.method.stopped
    assert steps.guard.stopped
    guard = written(run)["guard"]
    assert (guard["name"], guard["reason"]) == ("orders fail", "error_ratio 0.7")
    assert guard["faults_off_s"] - guard["violated_s"] == pytest.approx(0.2)
    assert written(run)["interrupted"] is False
    assert {"drain", "audit", "judge", "report"} <= set(steps.calls)


def test_the_guard_is_stopped_when_the_rollbacks_start(
    run: RunDir, steps: StubSteps, clock: Clock
) -> None:
    sequence(run, steps, clock).execute()
    assert steps.guard.stopped
    assert "guard" not in written(run)


class Messages(SilentReporter):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def message(self, text: str) -> None:
        self.texts.append(text)


def test_a_refused_action_is_shown_with_its_reason_at_once(
    run: RunDir, steps: StubSteps, clock: Clock
) -> None:
    start = steps.start_method

    def start_refused() -> StubMethod:
        method = start()
        error = "chaoslib.exceptions.ActivityFailed: lab.chaos.faults.errors.FaultRefusedError: no bank\n"
        (end,) = (
            each for each in method.coming if (each["name"], each["edge"]) == ("break", "end")
        )
        end |= {"status": "failed", "exception": [error]}
        return method

    steps.start_method = start_refused  # type: ignore[method-assign]
    planned, reporter = sequence(run, steps, clock), Messages()
    planned.reporter = reporter
    planned.execute()
    assert "  action: break: failed (FaultRefusedError: no bank)" in reporter.texts
