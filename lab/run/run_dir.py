"""A run's directory and its run.json, kept current from the first second: a kill leaves a true one."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab.archive import ARCHIVE_VERSION
from lab.files import write_json
from lab.runtimes.posix import pids
from lab.state import labs_folder

RUNNER = "runner.json"  # the process that plays the run, while it does


def runs_folder() -> Path:
    return labs_folder() / "runs"


def is_running(path: Path) -> bool:
    """Whether the process that made this run is still at it."""
    try:
        player = json.loads((path / RUNNER).read_bytes())
    except (OSError, ValueError):
        return False
    return pids.same(player["pid"], player["identity"])


class RunDir:
    """`info` is what run.json holds; every change is on disk when the call returns."""

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
        """A new `<utc>-<stem>-<seed>`; the experiment's file is copied into it as it is run."""
        started_s = clock()
        utc = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(started_s))
        folder = root or runs_folder()
        folder.mkdir(parents=True, exist_ok=True)
        path = _fresh(folder, f"{utc}-{stem}-{seed}")
        if experiment is not None:
            shutil.copyfile(experiment, path / "experiment.yaml")  # JSON is YAML too
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
        """The run is over: nobody plays it any more."""
        if self.path.is_dir():
            (self.path / RUNNER).unlink(missing_ok=True)

    def begin(self, phase: str, at_s: float | None = None) -> None:
        """The phase begins and with it the one before ends."""
        at_s = self._clock() if at_s is None else at_s
        self._close(at_s)
        self.info["phases"].append({"name": phase, "start_s": at_s, "end_s": None})
        self._save()

    def end(self, at_s: float | None = None) -> None:
        """The last phase ends."""
        self._close(self._clock() if at_s is None else at_s)
        self._save()

    @property
    def phase(self) -> str | None:
        """The phase that has not ended yet."""
        phases = self.info["phases"]
        return phases[-1]["name"] if phases and phases[-1]["end_s"] is None else None

    def _close(self, at_s: float) -> None:
        if self.phase is not None:
            last = self.info["phases"][-1]
            last["end_s"] = max(at_s, last["start_s"])

    def _save(self) -> None:
        write_json(self.path / "run.json", self.info)


def _fresh(folder: Path, name: str) -> Path:
    """A directory that was not there: two runs may start within one second."""
    for number in range(1, 100):
        path = folder / (name if number == 1 else f"{name}-{number}")
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path
    raise FileExistsError(f"{folder / name}: a hundred runs of that name")
