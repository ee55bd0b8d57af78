"""The load of a run: an open loop, with a schedule that is longer than the run."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from lab.load.profiles import Profile
from lab.load.shopper_task import longest_s
from lab.run.children.locust import COPIED, LocustProcess


class LoadProcess(LocustProcess):
    """`duration_s`: the length of the schedule; `finish` ends the arrivals earlier."""

    def __init__(
        self, run_dir: Path, host: str, profile: Profile, seed: int, duration_s: float
    ) -> None:
        self._profile, self._duration_s = profile, duration_s
        options = ("--load-profile", profile.name, "--duration", str(duration_s))
        super().__init__(
            run_dir, "open_loop.py", host, seed, ("--headless", "--only-summary", *options)
        )

    def finish(self) -> dict[str, Any]:
        """Ends the arrivals, waits for the answers; returns run.json's `load`. Raises LoadFailedError."""
        self.send(signal.SIGUSR1)
        status = self._ended(longest_s(self._profile.timeout_s) + 10)
        return {
            "profile": self._profile.planned(),
            "rate_per_s": self._profile.rate_per_s_by_route,
            "schedule_s": self._duration_s,
            **{name: status[name] for name in ("shoppers", "schedule_hash", *COPIED)},
        }
