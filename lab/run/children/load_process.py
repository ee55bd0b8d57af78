"""The load of a run: Locust in a child process, with a schedule that is longer than the run."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

from lab.load.profiles import Profile
from lab.load.shopper_task import longest_s
from lab.run.children.child_process import ChildProcess
from lab.topology import PROJECT

LOCUSTFILE = PROJECT / "loadtests/open_loop.py"


class LoadFailedError(Exception):
    """The load did not start or ended early; the text has Locust's last output."""


class LoadProcess(ChildProcess):
    """`duration_s`: the length of the schedule; `finish` ends the arrivals earlier."""

    def __init__(
        self, run_dir: Path, host: str, profile: Profile, seed: int, duration_s: float
    ) -> None:
        self._run_dir = run_dir
        self._profile, self._duration_s = profile, duration_s
        super().__init__(
            [
                *(sys.executable, "-m", "locust", "-f", LOCUSTFILE, "--headless", "--host", host),
                *("--load-profile", profile.name),
                *("--seed", str(seed), "--duration", str(duration_s), "--run-dir", run_dir),
                *("--only-summary", "--exit-code-on-error", "0"),
            ],
            run_dir / "load.log",
        )

    def started_s(self) -> float | None:
        """The start of the schedule (epoch s); None while shoppers log in. Raises LoadFailedError."""
        started: float | None = self._status().get("started_s")
        if started is None:
            self.check()
        return started

    def ended(self) -> bool:
        """Whether the whole schedule was sent. Raises LoadFailedError."""
        self.check()
        return self.exit_code == 0

    def check(self) -> None:
        """Raises LoadFailedError if it ended early."""
        if self.exit_code not in (None, 0):
            raise LoadFailedError(
                f"the load ended early (exit {self.exit_code}, {self.log}):\n{self.last_output()}"
            )

    def finish(self) -> dict[str, Any]:
        """Ends the arrivals, waits for the answers; returns run.json's `load`. Raises LoadFailedError."""
        self.send(signal.SIGUSR1)
        if not self.wait(longest_s(self._profile.timeout_s) + 10):
            self.kill()
        self.check()
        status = self._status()
        if "planned" not in status:
            raise LoadFailedError(f"the load left no summary ({self.log}):\n{self.last_output()}")
        return {
            "profile": self._profile.model_dump(mode="json"),
            "rate_per_s": self._profile.rate_per_s_by_route,
            "schedule_s": self._duration_s,
            **{name: status[name] for name in ("shoppers", "schedule_hash", "started_s")},
            **{name: status[name] for name in ("ended_s", "planned", "sent", "dropped", "rows")},
        }

    def _status(self) -> dict[str, Any]:
        try:
            status: dict[str, Any] = json.loads((self._run_dir / "load.json").read_bytes())
        except FileNotFoundError:
            return {}
        return status
