"""A run's progress as metrics: phase, faults, actions and load, from the files of the run."""

import json
import urllib.request
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from lab.prometheus_text import Exposition
from lab.recorder.records.run_progress import RunProgress
from tests.fixtures.waiting import wait_until
from tests.lab.recorder.recorder_process import RecorderProcess

NOW_S = 1000.0


Series = tuple[str, tuple[tuple[str, str], ...]]


def samples_of(progress: RunProgress) -> dict[Series, float]:
    page = Exposition()
    progress.write_metrics(page)
    return samples(page.text())


def samples(text: str) -> dict[Series, float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def append(path: Path, *rows: dict[str, Any]) -> None:
    with path.open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def series(name: str, **labels: str) -> Series:
    return name, tuple(sorted(labels.items()))


def fault(**part: Any) -> dict[str, Any]:
    return {"fault_id": "latency-1", "kind": "latency", "target": "bank-1", **part}


ACTIVE = series("breakwater_fault_active", fault="latency-1", kind="latency", target="bank-1")


def test_a_run_without_files_has_no_samples(tmp_path: Path) -> None:
    assert samples_of(RunProgress(tmp_path)) == {}


def test_the_phase_is_the_one_that_has_not_ended(tmp_path: Path) -> None:
    phases = [
        {"name": "warmup", "start_s": 1.0, "end_s": 2.0},
        {"name": "before", "start_s": 2.0, "end_s": None},
    ]
    run = {"run_id": "r", "experiment": "payments_slow", "phases": phases}
    (tmp_path / "run.json").write_text(json.dumps(run))
    before = series("breakwater_run_phase", run="r", experiment="payments_slow", phase="before")
    assert samples_of(RunProgress(tmp_path)) == {before: 1.0}
    phases[1]["end_s"] = 3.0
    (tmp_path / "run.json").write_text(json.dumps(run))
    assert samples_of(RunProgress(tmp_path)) == {}


def test_a_fault_is_active_from_its_effect_to_its_removal(tmp_path: Path) -> None:
    path, progress = tmp_path / "faults.ndjson", RunProgress(tmp_path, lambda: NOW_S)
    append(path, fault(commanded_s=990.0, ttl_s=60.0))
    assert samples_of(progress) == {}
    append(path, fault(effective_s=991.0))
    assert samples_of(progress) == {ACTIVE: 1.0}
    append(path, fault(removed_s=999.0))
    assert samples_of(progress) == {}


def test_a_fault_whose_injector_died_ends_at_its_ttl(tmp_path: Path) -> None:
    now_s = [NOW_S]
    progress = RunProgress(tmp_path, lambda: now_s[0])
    append(tmp_path / "faults.ndjson", fault(commanded_s=990.0, effective_s=991.0, ttl_s=20.0))
    assert samples_of(progress) == {ACTIVE: 1.0}
    now_s[0] = 1010.5
    assert samples_of(progress) == {}


def test_an_action_has_its_start_time(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"run_id": "r", "phases": []}))
    kill = {"what": "activity", "type": "action", "name": 'kill "orders"', "time_s": 995.5}
    probe = {**kill, "type": "probe", "name": "orders go on"}
    events = [{**each, "edge": edge} for each in (kill, probe) for edge in ("begin", "end")]
    append(tmp_path / "chaos.ndjson", *events)
    action = series("breakwater_action_time_seconds", run="r", action='kill "orders"')
    assert samples_of(RunProgress(tmp_path)) == {action: 995.5}


def test_the_load_counts_the_rows_written_so_far(tmp_path: Path) -> None:
    progress = RunProgress(tmp_path)
    (tmp_path / "load.json").write_text(json.dumps({"sent": 3, "dropped": 1}))
    sent = {"route": "POST /api/orders", "intended_start_s": 5.0, "end_s": 5.04, "outcome": "ok"}
    not_sent = {**sent, "end_s": None, "outcome": "fail"}
    append(tmp_path / "requests.ndjson", sent, sent, not_sent)
    found = samples_of(progress)
    route = {"route": "POST /api/orders"}
    assert found[series("load_arrivals_total", result="sent")] == 3
    assert found[series("load_arrivals_total", result="dropped")] == 1
    assert found[series("load_requests_total", outcome="ok", **route)] == 2
    assert found[series("load_requests_total", outcome="fail", **route)] == 1
    assert found[series("load_response_seconds_bucket", le="0.025", **route)] == 0
    assert found[series("load_response_seconds_bucket", le="0.05", **route)] == 2
    assert found[series("load_response_seconds_count", **route)] == 2
    assert abs(found[series("load_response_seconds_sum", **route)] - 0.08) < 1e-9
    append(tmp_path / "requests.ndjson", {**sent, "end_s": 99.0})
    found = samples_of(progress)
    assert found[series("load_response_seconds_bucket", le="25", **route)] == 2
    assert found[series("load_response_seconds_bucket", le="+Inf", **route)] == 3


def test_a_damaged_line_is_left_out(tmp_path: Path) -> None:
    path, progress = tmp_path / "faults.ndjson", RunProgress(tmp_path, lambda: NOW_S)
    path.write_text('{"fault_id": \n[1, 2]\n')
    append(path, fault(effective_s=991.0))
    assert samples_of(progress) == {ACTIVE: 1.0}


def test_the_recorder_serves_its_runs_progress(recorder: RecorderProcess, tmp_path: Path) -> None:
    assert served(recorder) == {series("recorder_recording"): 0.0}
    recorder.start(tmp_path / "run")
    recorder.log("bank-1", event="fault", phase="effective", service="bank", **fault())
    wait_until(lambda: ACTIVE in served(recorder), "the run is active")
    found = served(recorder)
    assert found[series("recorder_recording")] == 1
    assert found[series("recorder_rows_total", table="faults")] == 1
    assert found[series("recorder_shed_total", table="spans")] == 0
    recorder.stop()
    assert served(recorder) == {series("recorder_recording"): 0.0}


def served(recorder: RecorderProcess) -> dict[Series, float]:
    address = f"http://127.0.0.1:{recorder.port}/metrics"
    with urllib.request.urlopen(address, timeout=10) as answer:
        return samples(answer.read().decode())
