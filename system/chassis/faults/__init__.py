"""Faults inside the process: one file and one registration per kind; each removes itself.

A new fault copies `noop.py`, implements `run`, and is added to `REGISTERED`. One that changes the whole process
copies `skew.py` and implements `hold`. See docs/adding_a_fault.md.
"""

from chassis.faults.abort import Abort
from chassis.faults.bad_release import BadRelease
from chassis.faults.block_loop import BlockLoop
from chassis.faults.burn_cpu import BurnCpu
from chassis.faults.concurrency import Concurrency
from chassis.faults.corrupt import Corrupt
from chassis.faults.crash import Crash
from chassis.faults.crash_loop import CrashLoop
from chassis.faults.disk_full import DiskFull
from chassis.faults.down import Down
from chassis.faults.drop import Drop
from chassis.faults.drop_header import DropHeader
from chassis.faults.duplicate import Duplicate
from chassis.faults.fault import (
    CATALOGUE,
    DROPPED,
    AckLostError,
    Exchange,
    Fault,
    FaultAbortedError,
    FaultError,
    PostponedError,
    register,
)
from chassis.faults.fd_limit import FdLimit
from chassis.faults.flush import Flush
from chassis.faults.gray_failure import GrayFailure
from chassis.faults.host import Host
from chassis.faults.injector import Injector, armed, armed_at, failpoint, install
from chassis.faults.latency import Latency
from chassis.faults.lock import Lock
from chassis.faults.lost_ack import LostAck
from chassis.faults.memory import Memory
from chassis.faults.noop import Noop
from chassis.faults.poison import Poison
from chassis.faults.pool_hold import PoolHold
from chassis.faults.read_only import ReadOnly
from chassis.faults.reorder import Reorder
from chassis.faults.skew import Skew
from chassis.faults.slow_disk import SlowDisk
from chassis.faults.slow_start import SlowStart
from chassis.faults.sql_error import SqlError
from chassis.faults.stall import Stall
from chassis.faults.truncate import Truncate

REGISTERED = (
    Noop, Latency, Stall, Concurrency, Abort, Corrupt, Truncate, DropHeader, GrayFailure, BadRelease,
    SqlError, ReadOnly, Lock, PoolHold, Down, Drop, Duplicate, Reorder, LostAck, Poison, Flush,
    Crash, CrashLoop, SlowStart, BlockLoop, BurnCpu, Memory, FdLimit, DiskFull, SlowDisk,
    Skew,
)  # fmt: skip
for fault in REGISTERED:
    register(fault)

__all__ = [
    "CATALOGUE",
    "DROPPED",
    "AckLostError",
    "Exchange",
    "Fault",
    "FaultAbortedError",
    "FaultError",
    "Host",
    "Injector",
    "PostponedError",
    "armed",
    "armed_at",
    "failpoint",
    "install",
]
