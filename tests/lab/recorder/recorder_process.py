"""A recorder process on a port of its own, with a lab directory of its own."""

from __future__ import annotations

import http.client
import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.archive import Run
from lab.topology import PROJECT

TOKEN = "a token for this test"
SIGNALS_TOKEN = "a token for signals"
TOKENS: dict[str, Any] = {"token": TOKEN, "signals_token": SIGNALS_TOKEN}
ROOT = PROJECT


@dataclass
class RecorderProcess:
    port: int
    lab_dir: Path
    process: subprocess.Popen[bytes] = field(repr=False)

    def call(
        self,
        method: str,
        path: str,
        body: bytes | dict[str, Any] = b"",
        *,
        token: str | None = None,
        **headers: str,
    ) -> tuple[int, dict[str, Any]]:
        """Status and JSON body ({} for an empty or protobuf one); by default with the token of the path."""
        if token is None:
            token = TOKEN if path == "/recording" else SIGNALS_TOKEN
        raw = json.dumps(body).encode() if isinstance(body, dict) else body
        head = {"Authorization": f"Bearer {token}"}
        head |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, raw, head)
            answer = connection.getresponse()
            content = answer.read()
            is_json = answer.getheader("content-type") == "application/json"
            return answer.status, json.loads(content) if is_json and content else {}
        finally:
            connection.close()

    def start(self, run_dir: Path) -> None:
        status, answer = self.call("POST", "/recording", {"run_dir": str(run_dir)})
        assert status == 201, answer

    def stop(self) -> dict[str, Any]:
        status, answer = self.call("DELETE", "/recording")
        assert status == 200, answer
        return answer

    def status(self) -> dict[str, Any]:
        """The state of the recording."""
        return self.call("GET", "/recording")[1]

    def log(self, instance: str, /, **fields: Any) -> None:
        self.write(instance, json.dumps(fields).encode() + b"\n")

    def write(self, instance: str, data: bytes) -> None:
        with (self.lab_dir / "logs" / f"{instance}.jsonl").open("ab") as file:
            file.write(data)

    def scraping(self, *instances: dict[str, str], servers: Sequence[dict[str, str]] = ()) -> None:
        lab = TOKENS | {"instances": list(instances), "servers": list(servers)}
        (self.lab_dir / "lab.json").write_text(json.dumps(lab))


def is_up(recorder: RecorderProcess) -> bool:
    try:
        return recorder.call("GET", "/health")[0] == 200
    except OSError:
        assert recorder.process.poll() is None, "the recorder ended at once"
        return False


def rows(run_dir: Path, table: str) -> list[dict[str, Any]]:
    """What an archive's reader sees of a table now, as plain rows (None for null)."""
    relation = Run(run_dir).table(table)
    return [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]
