"""slow_disk: what the service stores takes long to be stored: its commits, or its own log."""

import asyncio
import fcntl
import os
import re
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar

from chassis.faults.fault import PROCESS, Exchange, Proceed
from chassis.faults.host import Tenure
from chassis.faults.log_files import LogFiles

PAGE_BYTES = 4096
WRITES = re.compile(r"(?<!FOR )(?<!FOR NO KEY )\b(INSERT|UPDATE|DELETE|MERGE|TRUNCATE)\b", re.I)


@dataclass(frozen=True)
class SlowDisk:
    """A database waits for its disk when it commits: at COMMIT, and after a write that is a transaction of its
    own. A log written faster than a page each latency_ms blocks its writer, the event loop, in write(2).
    """

    kind: ClassVar[str] = "slow_disk"
    doc: ClassVar[str] = (
        "database: each commit waits latency_ms; process: each page (4 KiB) of the service's log takes"
        " latency_ms to be written, and who writes faster is blocked"
    )
    points: ClassVar[tuple[str, ...]] = ("database", PROCESS)
    single: ClassVar[bool] = True
    latency_ms: float

    async def run(self, proceed: Proceed, rng: Random) -> Any:
        if _commits(proceed.exchange):
            await asyncio.sleep(self.latency_ms / 1000)
        return await proceed()

    @asynccontextmanager
    async def hold(self, tenure: Tenure) -> AsyncIterator[None]:
        with LogFiles() as log:
            out, into = os.pipe()
            if hasattr(fcntl, "F_SETPIPE_SZ"):
                fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, PAGE_BYTES)
            over = threading.Event()
            disk = threading.Thread(target=self._write, args=(out, log.kept, over), daemon=True)
            disk.start()
            log.lead_to(into)
            os.close(into)
            tenure.hit()
            try:
                yield
            finally:
                over.set()
                log.lead_back()  # the last writer is gone: the disk reads the end
                while disk.is_alive():  # no join: it would take a thread of its own
                    await asyncio.sleep(0.005)

    def _write(self, source: int, target: int, over: threading.Event) -> None:
        while page := os.read(source, PAGE_BYTES):
            over.wait(self.latency_ms / 1000)
            os.write(target, page)
        os.close(source)


def _commits(exchange: Exchange) -> bool:
    if exchange.method == "COMMIT":
        return True
    return not exchange.in_transaction and bool(WRITES.search(exchange.route))
