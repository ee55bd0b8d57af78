"""A run's directory and its run.json, which is correct on disk at any moment, even after a kill."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from lab.archive import ARCHIVE_VERSION, runs_folder
from lab.files import write_json
from lab.runtimes.posix import pids

RUNNER = "runner.json"  # the process that makes the run, while it does


def is_running(path: Path) -> bool:
    """Whether the process that makes this run is alive."""
    try:
        runner = json.loads((path / RUNNER).read_bytes())
    except (OSError, ValueError):
        return False
    return pids.same(runner["pid"], runner["identity"])


class RunDir:
    """`info`: the content of run.json. Every method writes it to disk before it returns."""

    def __init__(self, path: Path, info: dict[str, Any], clock: Callable[[], float]) -> None:
        self.path = path
        self.info = info
        self._clock = clock
        me = {"pid": os.getpid(), "identity": pids.identity(os.getpid())}
        write_json(path / RUNNER, me)
        self._save()

    @classmethod
    def make(
        cls,
        stem: str,
        seed: int,
        *,
        experiment: Path | None = None,
        root: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> RunDir:
        """A new `<utc>-<stem>-<seed>` with a copy of the experiment's file."""
        started_s = clock()
        utc = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(started_s))
        folder = root or runs_folder()
        folder.mkdir(parents=True, exist_ok=True)
        path = _fresh(folder, f"{utc}-{stem}-{seed}")
        if experiment is not None:
            copy_experiment(experiment, path / "experiment.yaml")
        info = {
            "archive_version": ARCHIVE_VERSION,
            "run_id": path.name,
            "experiment": stem if experiment is not None else None,
            "seed": seed,
            "started_s": started_s,
            "ended_s": None,
            "phases": [],
            "arms": ["control"],
            "blocks": [],
            "interrupted": False,
        }
        return cls(path, info, clock)

    def update(self, **fields: Any) -> None:
        self.info |= fields
        self._save()

    def close(self) -> None:
        """The run is over; `is_running` is false from now on."""
        if self.path.is_dir():
            (self.path / RUNNER).unlink(missing_ok=True)

    def begin(self, phase: str, at_s: float | None = None) -> None:
        """Starts the phase and ends the one before."""
        at_s = self._clock() if at_s is None else at_s
        self._close(at_s)
        self.info["phases"].append({"name": phase, "start_s": at_s, "end_s": None})
        self._save()

    def end(self, at_s: float | None = None) -> None:
        """Ends the last phase."""
        self._close(self._clock() if at_s is None else at_s)
        self._save()

    @property
    def phase(self) -> str | None:
        """The current phase; None if the last one has ended."""
        phases = self.info["phases"]
        return phases[-1]["name"] if phases and phases[-1]["end_s"] is None else None

    def _close(self, at_s: float) -> None:
        if self.phase is not None:
            last = self.info["phases"][-1]
            last["end_s"] = max(at_s, last["start_s"])

    def _save(self) -> None:
        write_json(self.path / "run.json", self.info)


def copy_experiment(experiment: Path, copy: Path) -> None:
    """Copies an experiment's file. JSON is written as YAML: YAML reads some JSON escapes otherwise."""
    if experiment.suffix != ".json":
        shutil.copyfile(experiment, copy)
        return
    data = json.loads(experiment.read_text())
    copy.write_text(yaml.safe_dump(data, allow_unicode=True, sort_keys=False))


def _fresh(folder: Path, name: str) -> Path:
    """A new directory; runs that start within one second get a number."""
    for number in range(1, 100):
        path = folder / (name if number == 1 else f"{name}-{number}")
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path
    raise FileExistsError(f"{folder / name}: a hundred runs of that name")
