"""What faults of the whole process get their hands on: the instance they are in, and what it opened."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from chassis.clock import SystemClock


@dataclass
class Host:
    """One instance. `pools` and `caches` fill up as the service opens them."""

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
class Tenure:
    """One standing fault's time in its host: until `ends_at` (monotonic seconds) at the latest."""

    host: Host
    ends_at: float
    ended: asyncio.Event
    hit: Any  # call it at each effect: it counts, and survives a restart where the fault does
