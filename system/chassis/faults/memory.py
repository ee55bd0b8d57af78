"""memory: the process grows to a size, page by page, and releases all of it."""

import asyncio
import mmap
import resource
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from chassis.faults.fault import PROCESS, Fault, FaultError
from chassis.faults.host import Holding

MB = 1_000_000
CHUNK = 4 * 1024 * 1024
LEFT_FREE = 0.1  # of the available memory: the fault may harm the service, not the machine


@dataclass(frozen=True)
class Memory(Fault):
    """An anonymous mapping with every page touched; unmapping returns it to the system at once."""

    kind = "memory"
    doc = "the process' resident memory grows to `to_mb` megabytes (10^6 bytes)"
    points = (PROCESS,)
    single = True
    to_mb: float

    @asynccontextmanager
    async def hold(self, holding: Holding) -> AsyncIterator[None]:
        now = resident_bytes()
        more = int(self.to_mb * MB) - now
        if more <= 0:
            raise FaultError(f"memory.to_mb: the process has {now / MB:.0f} MB already")
        available = available_bytes()
        if available is not None and more > available * (1 - LEFT_FREE):
            raise FaultError(
                f"memory.to_mb: {more / MB:.0f} MB more would leave the machine less than"
                f" {LEFT_FREE:.0%} of the {available / MB:.0f} MB it has available"
            )
        ballast = mmap.mmap(-1, more)
        try:
            holding.host.ballast_bytes = more
            page = b"\1" * CHUNK
            for start in range(0, more, CHUNK):
                ballast[start : start + CHUNK] = page[: min(CHUNK, more - start)]
                await asyncio.sleep(0)  # touching pages takes time, and this is the event loop
            holding.hit()
            yield
        finally:
            ballast.close()
            holding.host.ballast_bytes = 0


def resident_bytes() -> int:
    """The process' resident memory; where the system does not report it, its maximum so far."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return pages * resource.getpagesize()


def available_bytes() -> int | None:
    """The machine's available memory; None where the system does not report it."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    found = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return found[0] * 1024 if found else None
