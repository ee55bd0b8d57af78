"""fluentd.conf: its buffers and labels, and its behaviour in a real Fluentd."""

from __future__ import annotations

import http.server
import json
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.render.fluentd import BEGIN, END, labels, replaced
from lab.runtimes.supervisor import readiness
from lab.topology import load
from tests.deploy.observability import DEPLOY, free_ports, get, program, running, until

CONF = DEPLOY / "fluentd.conf"


# -- what can be read off the file -----------------------------------------------------------------


def sections(name: str) -> list[str]:
    return re.findall(rf"<{name}[^>]*>(.*?)</{name}>", CONF.read_text(), re.DOTALL)


def test_every_buffer_is_on_disk_bounded_and_drops_the_oldest_chunk() -> None:
    buffers = sections("buffer")
    assert len(buffers) == 2
    for buffer in buffers:
        assert "@type file\n" in buffer
        assert "total_limit_size" in buffer
        assert "overflow_action drop_oldest_chunk\n" in buffer
        assert "disable_chunk_backup true\n" in buffer  # a refused chunk would fill the disk


def test_the_labels_are_those_of_the_topology() -> None:
    assert replaced(CONF.read_text(), load()) == CONF.read_text(), "run `lab render fluentd`"
    assert "%w[bank].include?" in labels(load())


def test_without_its_marks_the_file_is_not_rendered() -> None:
    with pytest.raises(ValueError, match="lacks the marks"):
        replaced(CONF.read_text().replace(BEGIN, ""), load())
    assert CONF.read_text().count(END) == 1


# -- a real one --------------------------------------------------------------------------------------


class Recorder(http.server.ThreadingHTTPServer):
    """Takes log records as the recorder does; `status` other than 200 refuses them."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Take)
        self.status = 200
        self.records: list[dict[str, Any]] = []
        self.tokens: set[str] = set()
        self.url = f"http://127.0.0.1:{self.server_port}/logs"


class _Take(http.server.BaseHTTPRequestHandler):
    server: Recorder

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.tokens.add(self.headers["Authorization"])
        if self.server.status == 200:
            self.server.records += [json.loads(line) for line in body.splitlines()]
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    server = Recorder()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@dataclass
class Fluentd:
    port: int
    monitor: str
    folder: Path

    def docker(self, name: str, *lines: str) -> None:
        """Send lines as the engine's log driver does, from the container `name`."""
        messages = [
            packed([f"breakwater.{name}", 1700000000, {
                "container_id": "0123", "container_name": f"/{name}",
                "source": "stdout", "log": line,
            }])
            for line in lines
        ]  # fmt: skip
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(b"".join(messages))

    def output(self, name: str) -> dict[str, Any]:
        """The monitor's figures for one output."""
        plugins = get(f"{self.monitor}/api/plugins.json")["plugins"]
        return next(each for each in plugins if each["plugin_id"] == name)

    def files(self) -> list[dict[str, Any]]:
        """Every record in the files by the hour."""
        texts = [path.read_text() for path in sorted(self.folder.glob("shop.*.jsonl"))]
        return [json.loads(line) for text in texts for line in text.splitlines()]


@pytest.fixture
def fluentd(
    recorder: Recorder, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Fluentd]:
    """On the configuration of system/deploy; the parameter is the size of its buffers."""
    binary = program("LAB_FLUENTD", "fluentd")
    port, monitor = free_ports(2)
    folder = tmp_path / "fluentd"
    folder.mkdir()
    (tmp_path / "logs").mkdir()
    env = {
        **{"FLUENTD_HOST": "127.0.0.1", "FLUENTD_PORT": str(port), "FLUENTD_DIR": str(folder)},
        **{"FLUENTD_MONITOR_PORT": str(monitor), "FLUENTD_TAIL": f"{tmp_path}/logs/*.jsonl"},
        **{"RECORDER_LOGS": recorder.url, "SIGNALS_TOKEN": "a token"},
        "FLUENTD_BUFFER": getattr(request, "param", "64m"),
    }
    with running([binary, "-c", CONF, "--no-supervisor"], env, tmp_path / "fluentd.log"):
        url = f"http://127.0.0.1:{monitor}"
        until(lambda: get(f"{url}/api/plugins.json"), "Fluentd answers", 40)
        until(lambda: accepts(port), "Fluentd accepts lines")
        yield Fluentd(port, url, folder)


def accepts(port: int) -> bool:
    socket.create_connection(("127.0.0.1", port), timeout=1).close()
    return True


def packed(value: Any) -> bytes:
    """MessagePack of the little that Docker's driver sends."""
    if isinstance(value, int):
        return b"\xce" + value.to_bytes(4, "big")
    if isinstance(value, str):
        raw = value.encode()
        return b"\xdb" + len(raw).to_bytes(4, "big") + raw
    if isinstance(value, list):
        return bytes([0x90 + len(value)]) + b"".join(packed(each) for each in value)
    pairs = b"".join(packed(key) + packed(held) for key, held in value.items())
    return bytes([0x80 + len(value)]) + pairs


def line(number: int, **more: Any) -> str:
    return json.dumps(
        {"time": 1.5, "level": "info", "service": "orders", "instance": "orders-1",
         "message": f"line {number}", "number": number, **more}
    )  # fmt: skip


def test_a_line_of_a_container_arrives_complete_with_the_topologys_labels(
    fluentd: Fluentd, recorder: Recorder
) -> None:
    fluentd.docker("breakwater-bank-1-1", line(1, service="bank", trace_id="ab", cents=5))
    (record,) = until(lambda: recorder.records, "a record")
    assert recorder.tokens == {"Bearer a token"}
    assert record["time"] == 1.5
    assert (record["service"], record["message"], record["trace_id"]) == ("bank", "line 1", "ab")
    assert (record["tier"], record["outside"], record["cents"]) == ("service", True, 5)
    assert not {"log", "container_id", "container_name", "source"} & set(record)


async def test_it_answers_the_readiness_check_and_records_nothing_of_it(fluentd: Fluentd) -> None:
    assert await readiness.fluentd(fluentd.port)()
    fluentd.docker("breakwater-bank-1-1", line(1, service="bank"))
    assert len(until(fluentd.files, "a line in a file")) == 1
    (unused,) = free_ports(1)
    assert not await readiness.fluentd(unused)()


def test_a_servers_plain_log_line_stays_text_with_its_instance(
    fluentd: Fluentd, recorder: Recorder
) -> None:
    words = ['LOG:  "ready" to accept', "[1, 2]", "{torn", "17", '{"time": "noon"}']
    fluentd.docker("breakwater-postgres-1", *words)
    records = until(lambda: len(recorder.records) == len(words) and recorder.records, "every line")
    assert {each["message"] for each in records} == set(words)
    assert {(each["service"], each["instance"]) for each in records} == {("postgres", "postgres")}
    assert {(each["tier"], each["outside"]) for each in records} == {("server", False)}
    assert all(each["time"] > 1e9 for each in records)


def test_lines_of_a_file_arrive_like_a_containers(
    fluentd: Fluentd, recorder: Recorder, tmp_path: Path
) -> None:
    (tmp_path / "logs" / "orders-2.jsonl").write_text(f"{line(1)}\nTraceback (most recent ...\n")
    records = until(lambda: len(recorder.records) == 2 and recorder.records, "two records")
    assert {each["instance"] for each in records} == {
        "orders-1",
        "orders-2",
    }  # the file's name else
    assert {each["service"] for each in records} == {"orders"}


def test_every_record_goes_into_the_hourly_file_too(fluentd: Fluentd, recorder: Recorder) -> None:
    fluentd.docker("breakwater-orders-1-1", *(line(n) for n in range(100)))
    until(lambda: len(fluentd.files()) == 100, "100 lines in the file")
    assert {each["number"] for each in fluentd.files()} == set(range(100))
    (path,) = fluentd.folder.glob("shop.*.jsonl")
    assert re.fullmatch(r"shop\.\d{8}-\d{2}\.jsonl", path.name)


def test_records_that_a_busy_recorder_refuses_are_buffered_and_sent_later(
    fluentd: Fluentd, recorder: Recorder
) -> None:
    recorder.status = 503
    fluentd.docker("breakwater-orders-1-1", *(line(n) for n in range(50)))
    until(lambda: fluentd.output("recorder")["retry_count"], "a retry")
    assert list(fluentd.folder.glob("buffer/recorder/*.log"))
    recorder.status = 200
    until(lambda: len(recorder.records) == 50, "50 records")
    assert {each["number"] for each in recorder.records} == set(range(50))


@pytest.mark.parametrize("fluentd", ["2m"], indirect=True)
def test_a_full_buffer_drops_the_oldest_records_and_counts_them_exactly(
    fluentd: Fluentd, recorder: Recorder
) -> None:
    recorder.status = 503
    sent, padding = 400, "x" * 16_000  # 6 MB through a buffer of 2
    for first in range(0, sent, 20):
        fluentd.docker(
            "breakwater-orders-1-1", *(line(n, padding=padding) for n in range(first, first + 20))
        )
    until(lambda: fluentd.output("recorder")["emit_records"] >= sent, "all lines are taken", 40)
    assert fluentd.output("recorder")["buffer_total_queued_size"] <= 2.5 * 2**20
    recorder.status = 200
    until(
        lambda: fluentd.output("recorder")["buffer_total_queued_size"] == 0, "an empty buffer", 40
    )
    numbers = {each["number"] for each in recorder.records if "number" in each}
    assert len(numbers) < sent, "nothing was shed: the test proves nothing"
    assert sent - 1 in numbers, "the newest should be kept"
    # docs/logs.md: shed = what the output took in - what arrived
    shed = fluentd.output("recorder")["emit_records"] - len(recorder.records)
    shed_lines = [each for each in recorder.records if each.get("event") == "shed"]
    assert shed >= sent - len(numbers)
    assert shed_lines
    assert {each["service"] for each in shed_lines} == {"fluentd"}
