"""What a fault of the whole process can change: its instance, and what the instance has opened."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from chassis.clock import SystemClock


@dataclass
class Host:
    """One instance. The service adds its `pools` and `caches` as it opens them."""

    instance: str = ""
    arm: str = "control"
    version: str = "1"
    database_url: str = field(default="", repr=False)
    clock: SystemClock = field(default_factory=SystemClock)
    pools: list[asyncpg.Pool] = field(default_factory=list)
    caches: list[Any] = field(default_factory=list)
    ballast_bytes: int = 0  # held by the memory fault
    children: set[int] = field(default_factory=set)  # pids of the processes that faults started


@dataclass
class Holding:
    """Passed to a fault's `hold`: it must end at `ends_at` (monotonic seconds) at the latest."""

    host: Host
    ends_at: float
    ended: asyncio.Event
    hit: Callable[[], None]  # to be called at each effect; counts it
