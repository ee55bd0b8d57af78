"""slow_disk: the service's writes take longer: its commits, or its log."""

import asyncio
import fcntl
import os
import re
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

from chassis.faults.fault import PROCESS, Exchange, Fault, Proceed
from chassis.faults.host import Holding
from chassis.faults.log_files import LogFiles

PAGE_BYTES = 4096
WRITES = re.compile(r"(?<!FOR )(?<!FOR NO KEY )\b(INSERT|UPDATE|DELETE|MERGE|TRUNCATE)\b", re.I)


@dataclass(frozen=True)
class SlowDisk(Fault):
    """A database waits for its disk at each commit: at COMMIT, and after a write outside a transaction. A log that
    is written faster than one page each latency_ms blocks its writer, the event loop, in write(2).
    """

    kind = "slow_disk"
    doc = (
        "database: each commit waits latency_ms; process: each page (4 KiB) of the service's log takes"
        " latency_ms to be written, and a faster writer is blocked"
    )
    points = ("database", PROCESS)
    single = True
    latency_ms: float

    async def run(self, proceed: Proceed, rng: Random) -> Any:
        if _commits(proceed.exchange):
            await asyncio.sleep(self.latency_ms / 1000)
        return await proceed()

    @asynccontextmanager
    async def hold(self, holding: Holding) -> AsyncIterator[None]:
        with LogFiles() as log:
            out, into = os.pipe()
            if hasattr(fcntl, "F_SETPIPE_SZ"):
                fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, PAGE_BYTES)
            over = threading.Event()
            disk = threading.Thread(target=self._write, args=(out, log.log, over), daemon=True)
            disk.start()
            log.redirect_to(into)
            os.close(into)
            holding.hit()
            try:
                yield
            finally:
                over.set()
                log.restore()  # the last writer is closed: the thread reads the end of the pipe
                while disk.is_alive():  # no join: it would need another thread
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
