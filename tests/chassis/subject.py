"""The subject of fault tests: a real process on real servers, observed from outside."""

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lab.http_client import NoReplyError, Reply, exchange
from tests.fixtures.running import Nursery
from tests.fixtures.servers import free_port
from tests.fixtures.waiting import wait_until

SECRET, TOKEN = "a-secret-of-at-least-thirty-two-bytes", "lab-token"
READY_S = 20.0


class Subject:
    """One instance. After its process has ended, `start` starts another process of the same instance."""

    def __init__(
        self, nursery: Nursery, folder: Path, database: str, nats: str, valkey: str, **env: str
    ) -> None:
        self._nursery = nursery
        self.pid = 0  # of the latest process
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.database = database
        self.log = folder / "subject.jsonl"
        self._env = {
            "PATH": os.environ["PATH"], "SERVICE": "subject", "INSTANCE": "subject-1",
            "PORT": str(self.port), "SERVICE_SECRET": SECRET,
            "LAB_TOKEN": TOKEN, "DATABASE_URL": database, "NATS_URL": nats, "VALKEY_URL": valkey,
            "RESILIENCE": "none", "LAB_FAULTS": str(folder / "kept"), **env,
        }  # fmt: skip

    def start(self) -> float:
        """Start it and wait until it is ready; returns the seconds."""
        began = time.monotonic()
        self.pid = self._nursery.start(
            "subject-1", "tests.chassis.serve_subject", [], self._env, self.log
        )
        wait_until(self._ready, f"subject ready, see {self.log}", READY_S)
        return time.monotonic() - began

    @property
    def running(self) -> bool:
        return self.pid != 0 and not self._nursery.exited(self.pid)

    def wait(self) -> int:
        """The exit status, or minus the signal that ended it."""
        wait_until(lambda: not self.running, "the process to end")
        return self._nursery.stop(self.pid, 0)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        os.kill(self.pid, number)
        return self.wait()

    def end(self) -> None:
        """Kill the process if it runs."""
        if self.running:
            self.stop(signal.SIGKILL)

    def _ready(self) -> bool:
        assert self.running, self.log.read_text()[-3000:]
        with contextlib.suppress(NoReplyError):
            return exchange("GET", self.url + "/ready", timeout_s=1).status == 200
        return False

    def ask(self, method: str, path: str, body: Any = None, **options: Any) -> Reply:
        return exchange(method, self.url + path, body=body, **options)

    def lab(self, method: str, path: str, body: Any = None) -> Reply:
        return self.ask(method, f"/_lab/{path}", body, token=TOKEN)

    def add(self, kind: str, **spec: Any) -> dict[str, Any]:
        """Add a fault and return it."""
        reply = self.lab("POST", "faults", {"ttl_s": 30, "kind": kind, **spec})
        assert reply.status == 201, reply.body
        return dict(reply.body)

    def refuse(self, kind: str, **spec: Any) -> str:
        """Add an invalid fault; returns the error, after a check that nothing has changed."""
        before = self.lab("GET", "faults").body
        reply = self.lab("POST", "faults", {"ttl_s": 30, "kind": kind, **spec})
        assert reply.status == 400, reply.body
        assert self.lab("GET", "faults").body == before
        return str(reply.body["detail"])

    def clear(self) -> None:
        assert self.lab("DELETE", "faults").status == 200

    def armed(self) -> list[dict[str, Any]]:
        return list(self.lab("GET", "faults").body["items"])

    def fault(self, fault_id: str) -> dict[str, Any]:
        """The record of a fault, also of a removed one."""
        items = self.lab("GET", "faults/history").body["items"]
        return next(item for item in items if item["fault_id"] == fault_id)

    def left(self) -> list[str]:
        return list(self.lab("GET", "residue").body["left"])

    def metric(self, name: str) -> float:
        for line in str(self.ask("GET", "/metrics").body).splitlines():
            if line.startswith(name):
                return float(line.rpartition(" ")[2])
        raise AssertionError(f"no metric {name}")

    def lines(self, event: str) -> Iterator[dict[str, Any]]:
        """The event lines of this kind in its log."""
        for line in self.log.read_text().splitlines():
            with contextlib.suppress(ValueError):
                fields = json.loads(line)
                if fields.get("event") == event:
                    yield fields
