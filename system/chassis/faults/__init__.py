"""Faults inside the process, at the chassis' boundary: one file each, one registration, undone by themselves.

A new fault copies `noop.py`, says what it does in `run`, and is named in `CATALOGUE`.
"""

from chassis.faults.abort import Abort
from chassis.faults.concurrency import Concurrency
from chassis.faults.crash import Crash
from chassis.faults.fault import CATALOGUE, Exchange, Fault, FaultAborted, FaultError, register
from chassis.faults.injector import Injector, failpoint, install
from chassis.faults.latency import Latency
from chassis.faults.noop import Noop

for fault in (Noop, Latency, Concurrency, Abort, Crash):
    register(fault)

__all__ = [
    "CATALOGUE",
    "Exchange",
    "Fault",
    "FaultAborted",
    "FaultError",
    "Injector",
    "failpoint",
    "install",
]
