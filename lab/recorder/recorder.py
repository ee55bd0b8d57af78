"""The recorder without HTTP: its current recording, and the forwarding of spans."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from lab.otlp.spans import lines_from_protobuf
from lab.prometheus_text import Exposition
from lab.recorder.errors import RequestError
from lab.recorder.intake.nginx_spans import NginxSpans
from lab.recorder.lab_file import LabFile
from lab.recorder.records.recording import Recording
from lab.recorder.span_forwarder import SpanForwarder

NGINX_INTERVAL_S = 0.25
IDLE_INTERVAL_S = 1.0  # while spans are dropped
PROTOBUF = "application/x-protobuf"


class Recorder:
    """`recording` is the current one, None if no run is recorded.

    nginx's spans, which the recorder makes from nginx's log, take the route of all other spans: to
    `collector`, if one is given (it sends them to Jaeger and back here), else to the recording and to Jaeger.
    """

    def __init__(self, lab_dir: Path, collector: str = "") -> None:
        self.lab = LabFile(lab_dir / "lab.json")
        self.logs = lab_dir / "logs"
        self.recording: Recording | None = None
        self.jaeger = SpanForwarder(lambda: self.lab.jaeger)
        self.collector = SpanForwarder(lambda: collector) if collector else None
        self.nginx_spans = NginxSpans(self.logs, self._take_nginx_spans)
        self._lab_dir = lab_dir
        self._changing = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follows nginx's log; finishes a current recording on exit."""
        following = asyncio.create_task(self._follow_nginx())
        yield
        following.cancel()
        if self.recording is not None:
            await self.stop()
        for forwarder in filter(None, (self.jaeger, self.collector)):
            await forwarder.close()
        self.nginx_spans.close()

    async def start(self, run_dir: Path) -> dict[str, Any]:
        """Starts to record into `run_dir`, unless it already does; returns the status.

        Raises RequestError 400 for an unusable directory, 409 if another run is recorded or this one is sealed.
        """
        async with self._changing:
            self._start(run_dir)
            return self.status()

    async def stop(self) -> dict[str, Any]:
        """Finishes the recording and returns its counts; raises RequestError 404 if there is none."""
        async with self._changing:
            if self.recording is None:
                raise RequestError(404, "no run is recorded")
            self.nginx_spans.read()
            recording, self.recording = self.recording, None
            return {"recording": False} | await recording.stop()

    def _start(self, run_dir: Path) -> None:
        if not run_dir.is_absolute():
            raise RequestError(400, f"run_dir {run_dir} is not absolute")
        if self.recording is not None and self.recording.run_dir != run_dir:
            raise RequestError(409, f"{self.recording.run_dir} is recorded: stop it first")
        if (run_dir / "spans.parquet").exists():
            raise RequestError(409, f"{run_dir} is sealed: record into a new directory")
        if self.recording is None:
            if self._takes_spans():
                self.nginx_spans.read()  # earlier requests do not belong to this run
            else:
                self.nginx_spans.skip()
            try:
                run_dir.mkdir(parents=True, exist_ok=True)
                self.recording = Recording(run_dir, self._lab_dir, self.lab)
            except OSError as error:
                raise RequestError(400, f"cannot write to run_dir {run_dir}: {error}") from None

    def status(self) -> dict[str, Any]:
        if self.recording is None:
            return {"recording": False}
        return {"recording": True} | self.recording.counts()

    async def metrics(self) -> str:
        """The state of the recorder and the progress of the run, as Prometheus text."""
        recording, page = self.recording, Exposition()
        page.family("recorder_recording", "gauge", "1 while a run is recorded")
        page.sample(int(recording is not None))
        if recording is not None:
            await recording.write_metrics(page)
        return page.text()

    def _take_nginx_spans(self, body: bytes) -> None:
        headers = {"content-type": PROTOBUF}
        if self.collector is not None:
            self.collector.offer(body, headers)
            return
        self.jaeger.offer(body, headers)
        if self.recording is not None:
            self.recording.add_spans(*lines_from_protobuf(body))

    async def _follow_nginx(self) -> None:
        while True:
            if self._takes_spans():
                self.nginx_spans.read()
                await asyncio.sleep(NGINX_INTERVAL_S)
            else:
                await asyncio.sleep(IDLE_INTERVAL_S)

    def _takes_spans(self) -> bool:
        return bool(self.recording or self.collector or self.lab.jaeger)
