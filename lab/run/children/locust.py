"""Locust as a child process of a run. It writes its own account of the load to load.json."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab.run.children.child_process import ChildProcess
from lab.topology import PROJECT

COPIED = ("started_s", "ended_s", "planned", "sent", "dropped", "rows")


class LoadFailedError(Exception):
    """The load did not start or ended early; the text has Locust's last output."""


class LocustProcess(ChildProcess):
    """`file`: the locust file in loadtests/. Its output goes to load.log."""

    def __init__(
        self, run_dir: Path, file: str, host: str, seed: int, options: Sequence[str]
    ) -> None:
        self._run_dir = run_dir
        super().__init__(
            [
                *(sys.executable, "-m", "locust", "-f", PROJECT / "loadtests" / file),
                *("--host", host, "--seed", str(seed), "--run-dir", run_dir),
                *("--exit-code-on-error", "0", *options),
            ],
            run_dir / "load.log",
        )

    def started_s(self) -> float | None:
        """The start of the load (epoch s); None while shoppers log in. Raises LoadFailedError."""
        started: float | None = self._status().get("started_s")
        if started is None:
            self.check()
        return started

    def check(self) -> None:
        """Raises LoadFailedError if it ended early."""
        if self.exit_code not in (None, 0):
            raise LoadFailedError(
                f"the load ended early (exit {self.exit_code}, {self.log}):\n{self.last_output()}"
            )

    def _ended(self, timeout_s: float) -> dict[str, Any]:
        """Waits for its end, else kills it; returns load.json. Raises LoadFailedError."""
        if not self.wait(timeout_s):
            self.kill()
        self.check()
        status = self._status()
        if "planned" not in status:
            raise LoadFailedError(f"the load left no summary ({self.log}):\n{self.last_output()}")
        return status

    def _status(self) -> dict[str, Any]:
        try:
            status: dict[str, Any] = json.loads((self._run_dir / "load.json").read_bytes())
        except FileNotFoundError:
            return {}
        return status
