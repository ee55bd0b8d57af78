"""Locust's own page: a person starts and stops shoppers, a closed loop whose requests are all kept."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from lab.run.children.locust import COPIED, LocustProcess

STOP_S = 30  # for the last answers: longer than the longest operation of a shopper


class LocustPage(LocustProcess):
    """`page`: its address, on loopback."""

    def __init__(self, run_dir: Path, host: str, page: str, seed: int) -> None:
        port = page.rpartition(":")[2]
        options = ("--web-host", "127.0.0.1", "--web-port", port, "--stop-timeout", str(STOP_S))
        super().__init__(run_dir, "shop.py", host, seed, options)

    def finish(self) -> dict[str, Any]:
        """Ends the page and its shoppers; returns run.json's `load`. Raises LoadFailedError."""
        self.send(signal.SIGTERM)
        status = self._ended(STOP_S + 10)
        return {"closed_loop": True, **{name: status[name] for name in ("shoppers", *COPIED)}}
