"""Collects the gaps of an archive. The parts of an archive agree with each other, not only with its manifest."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from lab.analysis.verdict.claim import Claim
from lab.analysis.verdict.evidence import agreement, experiment, run_files, tables
from lab.archive import ARCHIVE_VERSION, Run
from lab.archive.manifest import contradictions

Check = Callable[[Run, Claim], Iterator[str]]
CHECKS: tuple[Check, ...] = (
    *(run_files.run_json, run_files.planned_load, run_files.load_json, run_files.recorder_json),
    *(experiment.journal, experiment.steps),
    *(tables.present, tables.columns, tables.counts, tables.numbers, tables.audit),
    *(agreement.schedule, agreement.history, agreement.traces, agreement.faults),
    agreement.scrapes,
)
OF_EXPERIMENTS: tuple[Check, ...] = (experiment.journal, experiment.steps)
OF_SCHEDULES: tuple[Check, ...] = (run_files.planned_load, agreement.schedule)


def gaps(run: Run, claim: Claim) -> list[str]:
    """One sentence for each gap in the evidence, with the file that has it; empty for a whole archive.

    A check that cannot read what it needs yields nothing: the check of that piece names it.
    """
    if "source" in run.info or "run_id" not in run.info:
        return ["run.json: not written by `lab run`: such an archive can be read, but not judged"]
    version = run.info.get("archive_version")
    if version != ARCHIVE_VERSION:
        return [
            f"run.json: the archive has version {version}, and a verdict needs the evidence of version"
            f" {ARCHIVE_VERSION}: judge it with the Breakwater that recorded it, or run the experiment again"
        ]
    changed = contradictions(run.path)
    without = (OF_EXPERIMENTS if run.is_load else ()) + (OF_SCHEDULES if run.is_closed_loop else ())
    checks = (check for check in CHECKS if check not in without)
    return [*changed, *(gap for check in checks for gap in check(run, claim))]
