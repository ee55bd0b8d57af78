"""crash: the process ends at once by SIGKILL: no handler, no flush."""

import os
import signal
from dataclasses import dataclass
from random import Random
from typing import Any

from chassis.faults.fault import EXCHANGES, Fault, Proceed


@dataclass(frozen=True)
class Crash(Fault):
    kind = "crash"
    doc = "the process kills itself with SIGKILL at this point"
    points = ("failpoint", *(p for p in EXCHANGES if p != "failpoint"))

    async def run(self, proceed: Proceed, rng: Random) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)
