"""Servers that answer, refuse or hang, as the recorder's probes see them."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.archive import Run
from lab.recorder.intake.server_probes import probe
from tests.fixtures.waiting import wait_until
from tests.lab.recorder.recorder_process import RecorderProcess


@contextmanager
def hanging() -> Iterator[int]:
    """A listener that accepts connections, as a stopped process does by its backlog, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.asyncio
async def test_a_server_that_accepts_and_does_not_answer_does_not_count_as_alive() -> None:
    with hanging() as port:
        assert await probe("127.0.0.1", port, b"PING\r\n", within_s=0.05) == "silent"
    assert await probe("127.0.0.1", port, b"PING\r\n") == "refused"


def test_the_archive_has_a_row_for_each_probe_of_each_server(
    recorder: RecorderProcess, tmp_path: Path
) -> None:
    with hanging() as port:
        alive, hung = f"127.0.0.1:{recorder.port}", f"127.0.0.1:{port}"
        names = {"mail": alive, "nats": hung, "valkey": "127.0.0.1:9", "recorder": hung}
        servers = [{"name": name, "address": at} for name, at in names.items()]
        recorder.scraping(servers=[*servers, {"name": "supervisor", "address": ""}])
        recorder.start(tmp_path / "run")
        wait_until(lambda: recorder.status()["rows"]["metrics"] >= 6, "two probes of each server")
        recorder.stop()
    found = Run(tmp_path / "run").sql(
        "SELECT DISTINCT instance, value, json_extract_string(labels, 'outcome')"
        " FROM metrics WHERE name = 'probe_success' ORDER BY 1"
    )
    assert found.fetchall() == [
        ("mail", 1.0, "answered"),
        ("nats", 0.0, "silent"),
        ("valkey", 0.0, "refused"),
    ]
