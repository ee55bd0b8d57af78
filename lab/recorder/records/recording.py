"""One recording: what is told between its start and its stop lands in the run's directory."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab.files import write_json
from lab.prometheus_text import Exposition
from lab.recorder.intake.log_lines import rows_of, rows_of_record
from lab.recorder.intake.scraper import Scraper, scrape_each_second
from lab.recorder.intake.tail import Tail
from lab.recorder.lab_file import LabFile
from lab.recorder.records.compaction import Compaction
from lab.recorder.records.run_progress import Progress
from lab.recorder.records.writer import FLUSH_INTERVAL_S, SEGMENT_BYTES, Writer

POLL_INTERVAL_S = 0.2
LINES_A_TURN = 500  # then the event loop gets a turn, so that intake goes on


class Recording:
    """Tails, scrapes, writes and compacts until `stop`; the `add_`s are fed by the intake.

    Logs are followed from the moment of construction: earlier lines are not replayed.
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
        self._writer = Writer(run_dir, segment_bytes=segment_bytes, on_segment=self._compaction.add)
        self._tail = Tail(lab_dir / "logs")
        self._scraper = Scraper(clock)
        self._progress = Progress(run_dir, clock)
        self._telling = asyncio.Lock()
        self._refused = {"traces": 0, "logs": 0}
        self._stopping = False
        self._following = asyncio.create_task(self._follow_logs())
        self._flushing = asyncio.create_task(self._flush_often())
        self._scraping = asyncio.create_task(
            scrape_each_second(
                self._scraper,
                lambda: lab.targets,
                lambda lines, rows: self._writer.add("metrics", lines, rows),
            )
        )

    def add_spans(self, lines: bytes, rows: int) -> bool:
        """False when they were shed because the disk does not keep up."""
        return self._writer.add("spans", lines, rows)

    def add_logs(self, records: list[dict[str, Any]]) -> bool:
        """False when some were shed."""
        now_s = self._clock()
        taken = [self._writer.add(*rows_of_record(record, now_s)) for record in records]
        return all(taken)

    def refuse(self, signal: str) -> None:
        """Count a request of `traces` or `logs` that was no such thing."""
        self._refused[signal] += 1

    async def stop(self) -> dict[str, Any]:
        """Read the logs to their end, write everything, leave `recorder.json`; the counts."""
        self._scraping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._scraping
        # These two end by themselves: cancelled in the middle they would lose what they hold.
        self._stopping = True
        await self._following
        await self._flushing
        await self._read_logs()
        self._tail.close()
        await self._writer.close()
        async with self._telling:
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

    async def tell(self, to: Exposition) -> None:
        """What the run has come to and what was recorded of it, as metrics."""
        for name, counts in (("rows", self._writer.rows), ("shed", self._writer.shed)):
            to.family(f"recorder_{name}_total", "counter", f"The run's {name}, by table")
            for table, count in counts.items():
                to.sample(count, table=table)
        to.family("recorder_scrape_failures_total", "counter", "Instances that did not answer")
        to.sample(self._scraper.failures)
        async with self._telling:  # in a thread: a burst of requests is a lot to read
            await asyncio.to_thread(self._progress.write, to)

    async def _follow_logs(self) -> None:
        while not self._stopping:
            await self._read_logs()
            await asyncio.sleep(POLL_INTERVAL_S)

    async def _read_logs(self) -> None:
        for number, (instance, line) in enumerate(self._tail.poll(), start=1):
            self._writer.add(*rows_of(line, instance, self._clock()))
            if number % LINES_A_TURN == 0:
                await asyncio.sleep(0)

    async def _flush_often(self) -> None:
        while not self._stopping:
            await asyncio.sleep(FLUSH_INTERVAL_S)
            await self._writer.flush()
