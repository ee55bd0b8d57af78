"""The steps of a run, on the running lab."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from lab import archive
from lab.archive.manifest import audit_record, write_manifest
from lab.chaos.experiment.plan import Limit, ProbeLimit
from lab.chaos.experiment.variables import variables_of
from lab.chaos.faults.clear_all import clear_all
from lab.chaos.faults.client import FaultClient
from lab.chaos.running_lab import RunningLab, find_lab
from lab.load.profiles import Profile
from lab.run.children.chaos_process import ChaosProcess
from lab.run.children.load_process import LoadProcess
from lab.run.children.locust_page import LocustPage
from lab.run.evidence import fault_rows, quiescence
from lab.run.evidence.database_audit import audit
from lab.run.evidence.machine import MachineSampler, roots_of
from lab.run.evidence.quiescence import Quiescence
from lab.run.evidence.recorder_client import RecorderClient
from lab.run.evidence.refusal_audit import audit_refusals
from lab.run.guard.guard import Guard
from lab.run.guard.limits import ProbeWatch, RequestRows, RequestWatch, Watch
from lab.run.run_dir import RunDir


class LabSteps:
    """On the lab of `port_base`. Each step reads lab.json again: instances may have changed."""

    def __init__(
        self,
        run: RunDir,
        port_base: int,
        profile: Profile | None,
        seed: int,
        limits: Sequence[Limit] = (),
    ) -> None:
        self._run = run
        self._limits = limits
        self._port_base = port_base
        self._profile, self._seed = profile, seed
        self._recorder = RecorderClient(self._lab)

    def start_recording(self) -> None:
        self._recorder.start(self._run.path)
        self._machine = MachineSampler(self._run.path, roots_of(lambda: self._lab.state))

    def stop_recording(self) -> None:
        self._run.update(machine=self._machine.stop())
        self._recorder.stop()

    def start_load(self, duration_s: float) -> LoadProcess | LocustPage:
        url = self._lab.ingress_url
        if self._profile is None:
            page = self._lab.state.addresses["locust_ui"]
            return LocustPage(self._run.path, url, page, self._seed)
        return LoadProcess(self._run.path, url, self._profile, self._seed, duration_s)

    def start_method(self) -> ChaosProcess:
        return ChaosProcess(self._run.path, self._port_base)

    def start_guard(self, method: ChaosProcess) -> Guard:
        watches = [(limit.name, self._watch(limit)) for limit in self._limits]
        return Guard(watches, method.request_stop, lambda: clear_all(self._lab))

    def _watch(self, limit: Limit) -> Watch:
        if isinstance(limit, ProbeLimit):
            experiment = self._run.path / "experiment.yaml"
            return ProbeWatch(limit, variables_of(experiment, self._port_base))
        rates = self._profile.rate_per_s_by_route if self._profile else {}
        expected_per_s = rates.get(limit.route, 0.0) if limit.route else sum(rates.values())
        rows = RequestRows(self._run.path / "requests.ndjson")
        return RequestWatch(limit, rows, expected_per_s, time.time())

    def drain(self, tick: Callable[[], None]) -> Quiescence:
        return quiescence.drain(lambda: quiescence.pending_work(self._faults), tick=tick)

    def find_residue(self) -> list[str]:
        return fault_rows.left_behind(lambda: self._faults)

    def clear_faults(self) -> None:
        self._faults.clear()

    def write_fault_rows(self) -> None:
        journal, since_s = self._run.path / "journal.json", self._run.info["started_s"]
        rows = fault_rows.fault_rows(self._faults, journal, since_s)
        fault_rows.write_fault_rows(self._run.path, rows)

    def audit(self) -> None:
        lab = self._lab.state
        mail, since_s = Path(lab.home) / "mail", self._run.info["started_s"]
        audit(self._run.path, lab.databases, mail, since_s)
        services = {each.service: each.address for each in lab.instances}
        audit_refusals(self._run.path, self._lab.ingress_url, services, lab.databases)
        self._run.update(audit=audit_record(self._run.path))

    def seal(self) -> None:
        archive.seal(self._run.path)
        write_manifest(self._run.path)

    def judge(self) -> int:
        from lab.analysis.verdict.verdict import write_verdict  # slow to import: numpy, pandas

        return int(write_verdict(self._run.path)["exit_code"])

    def report(self) -> None:
        from lab.report import write_report

        write_report(self._run.path)

    @property
    def _lab(self) -> RunningLab:
        return find_lab(self._port_base)

    @property
    def _faults(self) -> FaultClient:
        return FaultClient(self._lab)
