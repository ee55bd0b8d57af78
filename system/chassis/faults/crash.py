"""crash: the process dies on the spot, as by SIGKILL: no handler, no flush, no goodbye."""

import os
import signal
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar

from chassis.faults.fault import EXCHANGES, Proceed


@dataclass(frozen=True)
class Crash:
    kind: ClassVar[str] = "crash"
    doc: ClassVar[str] = "the process kills itself with SIGKILL at this point"
    points: ClassVar[tuple[str, ...]] = ("failpoint", *(p for p in EXCHANGES if p != "failpoint"))

    async def run(self, proceed: Proceed, rng: Random) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)
