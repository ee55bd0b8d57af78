"""The experiment of a run: unmodified Chaos Toolkit in a child process, with its steps as events."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

from lab.chaos.controls import RUN_DIR
from lab.run.children.child_process import ChildProcess

ROLLBACKS_S = 15.0


class ChaosProcess(ChildProcess):
    """`chaos run` of the experiment's copy in the run's directory."""

    def __init__(self, run_dir: Path, port_base: int) -> None:
        self._events = run_dir / "chaos.ndjson"
        self._read = 0
        self._stop_requested = False
        super().__init__(
            [
                # the version check would call a server outside
                *(sys.executable, "-m", "chaostoolkit", "--no-version-check"),
                *("--log-file", run_dir / "chaos.log", "run"),
                *("--journal-path", run_dir / "journal.json", run_dir / "experiment.yaml"),
            ],
            run_dir / "chaos.out",
            env={RUN_DIR: str(run_dir), "LAB_PORT_BASE": str(port_base)},
        )

    def events(self) -> list[dict[str, Any]]:
        """The steps since the last call; lab.chaos.controls writes them."""
        try:
            with self._events.open("rb") as file:
                file.seek(self._read)
                new = file.read()
        except FileNotFoundError:
            return []
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        return [json.loads(line) for line in whole.splitlines()]

    def ended(self) -> bool:
        return self.exit_code is not None

    def request_stop(self) -> None:
        """Makes the toolkit stop the method and run the rollbacks; returns at once.

        SIGUSR1 and not SIGINT: it also works where SIGINT is ignored (a shell's `&`), and unlike
        SIGTERM it cannot be mistaken for an activity's failure by older toolkits.
        """
        if not self._stop_requested:
            self._stop_requested = True
            self.send(signal.SIGUSR1)

    def stop(self) -> None:
        """`request_stop`, then waits until the rollbacks are done and the toolkit has ended."""
        self.request_stop()
        if not self.wait(ROLLBACKS_S):
            self.kill()
