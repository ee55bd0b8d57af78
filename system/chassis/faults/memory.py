"""memory: the process grows to a size, page by page, and gives all of it back."""

import asyncio
import mmap
import resource
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from chassis.faults.fault import PROCESS, FaultError
from chassis.faults.host import Tenure

MB = 1_000_000
CHUNK = 4 * 1024 * 1024
LEFT_FREE = 0.1  # of what is available: the fault may hurt the service, not the machine


@dataclass(frozen=True)
class Memory:
    """An anonymous mapping with every page touched; unmapping gives it to the system at once."""

    kind: ClassVar[str] = "memory"
    doc: ClassVar[str] = "the process' resident memory grows to `to_mb` megabytes (10^6 bytes)"
    points: ClassVar[tuple[str, ...]] = (PROCESS,)
    single: ClassVar[bool] = True
    to_mb: float

    @asynccontextmanager
    async def hold(self, tenure: Tenure) -> AsyncIterator[None]:
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
            tenure.host.ballast_bytes = more
            page = b"\1" * CHUNK
            for start in range(0, more, CHUNK):
                ballast[start : start + CHUNK] = page[: min(CHUNK, more - start)]
                await asyncio.sleep(0)  # touching pages takes time, and this is the event loop
            tenure.hit()
            yield
        finally:
            ballast.close()
            tenure.host.ballast_bytes = 0


def resident_bytes() -> int:
    """What the process holds in memory now; where the system does not tell, the most it ever held."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return pages * resource.getpagesize()


def available_bytes() -> int | None:
    """What the machine could still give; None where it does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    found = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return found[0] * 1024 if found else None
