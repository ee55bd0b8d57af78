"""One recording: writes all signals between its start and its stop into the run's directory."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab.files import write_json
from lab.prometheus_text import Exposition
from lab.recorder.errors import RequestError
from lab.recorder.intake.log_lines import rows_of_line, rows_of_record
from lab.recorder.intake.scraper import Scraper, scrape_each_second
from lab.recorder.intake.server_probes import ServerProbes
from lab.recorder.intake.tail import Tail
from lab.recorder.lab_file import LabFile
from lab.recorder.names import NUMBERED, RECORDER, ROWS_TOTAL
from lab.recorder.records.compaction import Compaction
from lab.recorder.records.run_progress import RunProgress
from lab.recorder.records.table_writer import (
    FLUSH_INTERVAL_S,
    PENDING_BYTES_MAX,
    SEGMENT_BYTES,
    TableWriter,
)

POLL_INTERVAL_S = 0.2
LINES_PER_TURN = 500  # then the event loop gets a turn, so that the API stays responsive


class Recording:
    """Follows logs, scrapes, probes servers, writes and compacts until `stop`; the API adds spans and logs.

    It follows the logs from its construction on; earlier lines are not recorded.
    """

    def __init__(
        self,
        run_dir: Path,
        lab_dir: Path,
        lab: LabFile,
        clock: Callable[[], float] = time.time,
        *,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self.run_dir = run_dir
        self.started_s = clock()
        self._clock = clock
        self._compaction = Compaction()
        self._writer = TableWriter(
            run_dir, segment_bytes=segment_bytes, on_segment=self._compaction.add
        )
        self._tail = Tail(lab_dir / "logs")
        self._scraper = Scraper(clock)
        self._progress = RunProgress(run_dir, clock)
        self._reading_progress = asyncio.Lock()
        self._refused = {"traces": 0, "logs": 0}
        self._stopping = False
        self._following = asyncio.create_task(self._follow_logs())
        self._flushing = asyncio.create_task(self._flush_often())
        self._scraping = asyncio.create_task(
            scrape_each_second(self._scraper, lambda: lab.targets, self._add_metrics)
        )
        self._probing = asyncio.create_task(
            ServerProbes(lambda: lab.servers, self._add_metrics, clock).run()
        )

    def add_spans(self, lines: bytes, rows: int) -> bool:
        """Returns False if the lines were shed because the disk does not keep up.

        Raises RequestError 413 if even an empty queue cannot hold them. They count as shed too.
        """
        return not rows or _fit(self._writer.add("spans", lines, rows), len(lines))

    def add_logs(self, records: list[dict[str, Any]]) -> bool:
        """The same for records, of which some may be recorded."""
        now_s, added, largest = self._clock(), True, 0
        for record in records:
            table, lines, rows = rows_of_record(record, now_s)
            added = self._writer.add(table, lines, rows) and added
            largest = max(largest, len(lines))
        return _fit(added, largest)

    def refuse(self, signal: str) -> None:
        """Counts an invalid request of `traces` or `logs`."""
        self._refused[signal] += 1

    async def stop(self) -> dict[str, Any]:
        """Reads the logs to their end, writes everything and `recorder.json`, and returns the counts."""
        for watching in (self._scraping, self._probing):
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
        # these two tasks end by themselves: a cancellation could lose rows
        self._stopping = True
        await self._following
        await self._flushing
        await self._read_logs()
        self._tail.close()
        await self._writer.flush()
        self._add_own_counts()
        await self._writer.close()
        async with self._reading_progress:
            self._progress.close()
        await self._compaction.stop()
        counts = self.counts() | {"stopped_s": self._clock()}
        await asyncio.to_thread(write_json, self.run_dir / "recorder.json", counts)
        return counts

    def counts(self) -> dict[str, Any]:
        """Rows written and shed by table, requests refused, failed scrapes, the last write error."""
        return {
            "run_dir": str(self.run_dir),
            "started_s": self.started_s,
            "rows": dict(self._writer.rows),
            "shed": dict(self._writer.shed),
            "refused": dict(self._refused),
            "segments": {"compacted": self._compaction.done, "failed": self._compaction.failed},
            "scrape_failures": self._scraper.failures,
            "error": self._writer.error,
        }

    async def write_metrics(self, page: Exposition) -> None:
        """Writes the recorded rows and the run's progress as metrics."""
        for name, counts in (("rows", self._writer.rows), ("shed", self._writer.shed)):
            page.family(f"recorder_{name}_total", "counter", f"The run's {name}, by table")
            for table, count in counts.items():
                page.sample(count, table=table)
        page.family("recorder_scrape_failures_total", "counter", "Failed scrapes of instances")
        page.sample(self._scraper.failures)
        async with self._reading_progress:  # in a thread: a burst of requests takes time to read
            await asyncio.to_thread(self._progress.write_metrics, page)

    def _add_metrics(self, lines: bytes, rows: int) -> None:
        self._writer.add("metrics", lines, rows)

    def _add_own_counts(self) -> None:
        """The recorder's last rows: how many rows each table has, a second record beside recorder.json."""
        counts = {table: self._writer.rows[table] for table in NUMBERED}
        counts["metrics"] += len(counts)  # these rows included
        own = {
            "time_s": self._clock(),
            "service": RECORDER,
            "instance": RECORDER,
            "name": ROWS_TOTAL,
        }
        rows = [own | {"labels": {"table": table}, "value": n} for table, n in counts.items()]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        self._writer.add("metrics", lines.encode(), len(rows))

    async def _follow_logs(self) -> None:
        while not self._stopping:
            await self._read_logs()
            await asyncio.sleep(POLL_INTERVAL_S)

    async def _read_logs(self) -> None:
        for number, (instance, line) in enumerate(self._tail.poll(), start=1):
            self._writer.add(*rows_of_line(line, instance, self._clock()))
            if number % LINES_PER_TURN == 0:
                await asyncio.sleep(0)

    async def _flush_often(self) -> None:
        while not self._stopping:
            await asyncio.sleep(FLUSH_INTERVAL_S)
            await self._writer.flush()


def _fit(added: bool, largest: int) -> bool:
    if not added and largest > PENDING_BYTES_MAX:
        text = f"a row or a request's spans take {largest} bytes, at most {PENDING_BYTES_MAX}: send less"
        raise RequestError(413, text)
    return added
