"""burn_cpu: other processes use a share of the machine's processors."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from chassis.faults.fault import PROCESS, Fault, FaultError
from chassis.faults.host import Holding

WORKERS_MAX = 64
# A worker ends by an alarm at the TTL, and when its stdin closes: however its parent process ends. Its duty counts
# the processor time that it got, so that it burns no less on a busy machine.
WORKER = """
import select, signal, sys, time
duty, ttl = float(sys.argv[1]), float(sys.argv[2])
signal.setitimer(signal.ITIMER_REAL, ttl)
began, burned = time.monotonic(), time.process_time()
while True:
    due = (time.monotonic() - began) * duty
    slice_ends = time.monotonic() + 0.01
    while (behind := time.process_time() - burned < due) and time.monotonic() < slice_ends:
        pass
    if select.select([0], [], [], 0 if behind else 0.01 * (1 - duty))[0]:
        break
"""


@dataclass(frozen=True)
class BurnCpu(Fault):
    """Workers are processes: threads would hold the interpreter's lock, which is another fault."""

    kind = "burn_cpu"
    doc = "`workers` processes each use duty_percent of one processor"
    points = (PROCESS,)
    duty_percent: float = 100.0
    workers: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.duty_percent <= 100:
            raise FaultError("burn_cpu.duty_percent: expected above 0 and up to 100")
        if not 1 <= self.workers <= WORKERS_MAX:
            raise FaultError(f"burn_cpu.workers: expected 1 to {WORKERS_MAX}, got {self.workers}")

    @asynccontextmanager
    async def hold(self, holding: Holding) -> AsyncIterator[None]:
        left_s = max(0.01, holding.ends_at - time.monotonic())
        argv = [sys.executable, "-I", "-S", "-c", WORKER]
        argv += [str(self.duty_percent / 100), f"{left_s:.3f}"]
        workers: list[asyncio.subprocess.Process] = []
        try:
            for _ in range(int(self.workers)):
                worker = await asyncio.create_subprocess_exec(*argv, stdin=asyncio.subprocess.PIPE)
                workers.append(worker)
                holding.host.children.add(worker.pid)
                holding.hit()
            yield
        finally:
            for worker in workers:
                if worker.returncode is None:
                    worker.kill()
                await worker.wait()
                holding.host.children.discard(worker.pid)
