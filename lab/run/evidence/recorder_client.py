"""Starts and stops the recording of a run, through the recorder's HTTP API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lab.chaos.running_lab import RunningLab
from lab.http_client import NoReplyError, exchange
from lab.run.run_dir import is_running

STOP_S = 30.0  # the recorder first reads the logs to their end


class RecorderRefusedError(Exception):
    """The recorder refused or did not answer; the text has the reason."""


class RecorderClient:
    """The recorder of one lab."""

    def __init__(self, lab: RunningLab) -> None:
        self._url = lab.state.addresses["recorder"] + "/recording"
        self._token = lab.token

    def start(self, run_dir: Path) -> None:
        """Raises RecorderRefusedError, also while another run is recorded: both would contain both loads."""
        status = self._call("GET", None, 5.0)
        if status["recording"] and not is_running(Path(status["run_dir"])):
            self.stop()  # the process of that run was killed
        self._call("POST", {"run_dir": str(run_dir.absolute())}, 5.0)

    def stop(self) -> dict[str, Any]:
        """Stops once all is written; rows by table, shed rows, failed scrapes. Raises RecorderRefusedError."""
        return self._call("DELETE", None, STOP_S)

    def _call(self, method: str, body: Any, timeout_s: float) -> dict[str, Any]:
        try:
            reply = exchange(method, self._url, body=body, token=self._token, timeout_s=timeout_s)
        except NoReplyError as error:
            raise RecorderRefusedError(
                f"the recorder does not answer ({error}); see `lab status`"
            ) from None
        if reply.status >= 400 or not isinstance(reply.body, dict):
            raise RecorderRefusedError(f"the recorder refused: {reply.status} {reply.body}")
        return reply.body
