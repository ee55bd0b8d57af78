"""The recorder's and the archive's figures: `python bench/recorder.py [--spans 10000000]` prints JSON.

intake      spans as the shop's exporters send them (protobuf, 512 per request), as fast as it can; recorder
            and compaction are pinned to one core, the sender to another
memory      the largest sum of the memory of recorder and compaction (Linux: PSS), measured ten times a second
stop, seal  the time to stop the recording, and to seal the rest
reading     a process that opens the archive and computes p50 and p99 by service and minute: its time and peak
            resident memory
"""

import argparse
import http.client
import json
import multiprocessing
import os
import random
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy
import psutil
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "system"), str(ROOT)]

from lab.archive import Run, seal  # noqa: E402

SERVICES = ("gateway", "users", "products", "inventory", "orders", "payments", "notifications")
SPANS_A_REQUEST = 512
TOKEN = "bench"
HOUR_NS = 3600 * 10**9
BY_SERVICE_AND_MINUTE = """
    SELECT service, start_ns // 60_000_000_000 AS minute, count(*) AS spans,
           quantile_cont((end_ns - start_ns) / 1e6, [0.5, 0.99]) AS ms
    FROM spans GROUP BY ALL ORDER BY ALL
"""


class Template:
    """A request of an exporter, encoded once; `fresh` writes new ids and times of every span in place."""

    def __init__(self, service: str, rng: random.Random) -> None:
        request = ExportTraceServiceRequest()
        group = request.resource_spans.add()
        attributes = {
            "service.name": service, "service.instance.id": f"{service}-1", "service.version": "1",
            "breakwater.arm": "control",
        }  # fmt: skip
        for name, value in attributes.items():
            group.resource.attributes.add(key=name).value.string_value = value
        spans = group.scope_spans.add().spans
        marks = []
        for number in range(SPANS_A_REQUEST):
            ids, start, end = rng.randbytes(24), rng.getrandbits(62), rng.getrandbits(62)
            marks.append(
                (ids[:16], ids[16:], start.to_bytes(8, "little"), end.to_bytes(8, "little"))
            )
            span = spans.add(
                trace_id=ids[:16], span_id=ids[16:], parent_span_id=rng.randbytes(8),
                name="POST /payments", kind=2 + number % 2, start_time_unix_nano=start,
                end_time_unix_nano=end,
            )  # fmt: skip
            for name, value in {
                "http.request.method": "POST", "http.route": "/payments",
                "url.path": f"/payments/{rng.getrandbits(64):x}", "breakwater.edge": "orders->payments",
            }.items():  # fmt: skip
                span.attributes.add(key=name).value.string_value = value
            span.attributes.add(key="http.response.status_code").value.int_value = 201
            if number % 10 == 0:
                event = span.events.add(time_unix_nano=10**18, name="retry.attempt")
                event.attributes.add(key="attempt").value.int_value = 2
        body = request.SerializeToString()
        self._bytes = numpy.frombuffer(body, dtype=numpy.uint8).copy()
        places = [[body.index(mark) for mark in marks_of] for marks_of in zip(*marks, strict=True)]
        self._trace, self._span, self._start, self._end = (numpy.array(each) for each in places)

    def fresh(self, rng: numpy.random.Generator, first_ns: int, step_ns: int) -> bytes:
        count = SPANS_A_REQUEST
        starts = first_ns + step_ns * numpy.arange(count, dtype=numpy.int64)
        durations = rng.lognormal(2.5, 1.0, count) * 1e6
        for places, values in (
            (self._trace, rng.integers(1, 256, (count, 16), dtype=numpy.uint8)),
            (self._span, rng.integers(1, 256, (count, 8), dtype=numpy.uint8)),
            (self._start, starts.view(numpy.uint8).reshape(count, 8)),
            (
                self._end,
                (starts + durations.astype(numpy.int64)).view(numpy.uint8).reshape(count, 8),
            ),
        ):
            self._bytes[places[:, None] + numpy.arange(values.shape[1])] = values
        return self._bytes.tobytes()


class Recorder:
    """A recorder process on the given cores, with a measurement of its memory."""

    def __init__(self, folder: Path, cores: set[int]) -> None:
        self.run_dir = folder / "run"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        (folder / "logs").mkdir()
        (folder / "lab.json").write_text(json.dumps({"token": TOKEN, "signals_token": TOKEN}))
        self.process = psutil.Popen(
            [
                sys.executable,
                "-m",
                "lab.recorder",
                "--port",
                str(self.port),
                "--lab-dir",
                str(folder),
            ],
            env=os.environ | {"PYTHONPATH": f"{ROOT / 'system'}:{ROOT}"},
        )
        if hasattr(os, "sched_setaffinity"):  # not on macOS
            os.sched_setaffinity(self.process.pid, cores)
        self.memory_bytes = 0
        self.alone_bytes = 0
        self.cpu_s = 0.0
        self._watching = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                self.call("POST", {"run_dir": str(self.run_dir)})
                break
            except OSError:
                time.sleep(0.05)
        self._watching.start()

    def call(self, method: str, body: Any = None) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        head = {"Authorization": f"Bearer {TOKEN}"}
        connection.request(method, "/recording", json.dumps(body), head)
        answer = connection.getresponse()
        content: dict[str, Any] = json.loads(answer.read())
        if answer.status >= 400:
            sys.exit(f"the recorder refused: {content}")
        return content

    def cpu_now_s(self) -> float:
        """CPU time of the recorder and of its finished compactions."""
        times = self.process.cpu_times()
        return float(times.user + times.system + times.children_user + times.children_system)

    def _watch(self) -> None:
        while self.process.is_running():
            try:
                own = memory_bytes(self.process)
                total = own + sum(memory_bytes(child) for child in self.process.children())
            except psutil.Error:
                continue
            self.alone_bytes = max(self.alone_bytes, own)
            self.memory_bytes = max(self.memory_bytes, total)
            time.sleep(0.1)

    def end(self) -> None:
        self.process.terminate()
        self.process.wait()


def memory_bytes(process: psutil.Process) -> int:
    """The process's own memory plus its part of shared memory (PSS)."""
    memory = process.memory_full_info()
    return int(getattr(memory, "pss", memory.uss))


def send(port: int, spans: int, cores: set[int], seed: int) -> None:
    """Sends `spans` spans, spread over one hour; sends a shed request again."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    templates = [Template(service, random.Random(seed)) for service in SERVICES]
    rng = numpy.random.default_rng(seed)
    requests = -(-spans // SPANS_A_REQUEST)
    step_ns = HOUR_NS // (requests * SPANS_A_REQUEST)
    first_ns = time.time_ns()
    head = {"Content-Type": "application/x-protobuf", "Authorization": f"Bearer {TOKEN}"}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for number in range(requests):
        template = templates[number % len(templates)]
        body = template.fresh(rng, first_ns + number * SPANS_A_REQUEST * step_ns, step_ns)
        while True:
            connection.request("POST", "/v1/traces", body, head)
            answer = connection.getresponse()
            answer.read()
            if answer.status == 200:
                break
            if answer.status != 503:
                sys.exit(f"the recorder answered {answer.status}")
            time.sleep(0.1)


def intake(folder: Path, spans: int) -> dict[str, Any]:
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    recorder = Recorder(folder, {cores[0]})
    try:
        recorder.start()
        spent_s = recorder.cpu_now_s()
        started = time.perf_counter()
        sender = multiprocessing.get_context("spawn").Process(
            target=send, args=(recorder.port, spans, set(cores[1:] or cores), 7)
        )
        sender.start()
        sender.join()
        if sender.exitcode != 0:
            sys.exit("the sender failed")
        wall_s = time.perf_counter() - started
        cpu_s = recorder.cpu_now_s() - spent_s
        started = time.perf_counter()
        counts = recorder.call("DELETE")
        stop_s = time.perf_counter() - started
        taken = counts["rows"]["spans"]
        return {
            "spans": taken,
            "shed": counts["shed"]["spans"],
            "wall_s": round(wall_s, 1),
            "spans_per_s": round(taken / wall_s),
            "recorder_cpu_s": round(cpu_s, 1),
            "spans_per_cpu_s": round(taken / cpu_s),
            "memory_mb": round(recorder.memory_bytes / 2**20),
            "memory_of_recorder_alone_mb": round(recorder.alone_bytes / 2**20),
            "segments": counts["segments"],
            "stop_s": round(stop_s, 2),
        }
    finally:
        recorder.end()


def read(run_dir: Path) -> dict[str, Any]:
    """Reads in a separate process, so that the memory is that of the reading only."""
    code = f"import bench.recorder as b, pathlib; b.print_reading(pathlib.Path({str(run_dir)!r}))"
    env = os.environ | {"PYTHONPATH": f"{ROOT / 'system'}:{ROOT}"}
    done = subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def print_reading(run_dir: Path) -> None:
    started = time.perf_counter()
    frame = Run(run_dir).sql(BY_SERVICE_AND_MINUTE).df()
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 1 if sys.platform == "darwin" else 1024
    print(
        json.dumps(
            {
                "spans": int(frame["spans"].sum()),
                "rows": len(frame),
                "seconds": round(seconds, 2),
                "memory_mb": round(peak * unit / 2**20),
            }
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--spans", type=int, default=1_000_000)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench-recorder-"))
    try:
        figures: dict[str, Any] = {"intake": intake(folder, options.spans)}
        run_dir = folder / "run"
        started = time.perf_counter()
        seal(run_dir)
        figures["seal_s"] = round(time.perf_counter() - started, 2)
        figures["archive_mb"] = round(
            sum(file.stat().st_size for file in run_dir.iterdir()) / 2**20
        )
        figures["reading"] = read(run_dir)
    finally:
        shutil.rmtree(folder)
    print(json.dumps({"bench": "recorder", "cpus": os.cpu_count(), **figures}, indent=2))


if __name__ == "__main__":
    main()
