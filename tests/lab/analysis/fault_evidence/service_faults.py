"""A synthetic archive of each kind of fault inside a service, at the attributes of experiments."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lab.analysis.fault_evidence.judge import judge_faults
from lab.analysis.fault_evidence.judged import Judged
from lab.archive import Run
from tests.lab.analysis.fault_evidence.shapes import (
    cache,
    calls_in,
    calls_out,
    clock,
    consumed,
    damage,
    database,
    dead_letters,
    fail,
    hang,
    hang_alone,
    heartbeats,
    late,
    log_lines,
    lose,
    pages,
    published,
    refuse,
    reject,
    shaped,
    slow_start,
    twice,
)
from tests.lab.analysis.fault_evidence.world import END_S, START_S, Case, World

Build = Callable[[Case], None]
FAULTS: dict[tuple[str, str], tuple[dict[str, Any], dict[str, Any], Build]] = {
    ("latency", "inbound"): (
        {"latency_ms": 2000}, {"route": "/things"}, shaped(calls_in, late),
    ),
    ("latency", "outbound"): ({"latency_ms": 300}, {}, shaped(calls_out, late)),
    ("latency", "database"): (
        {"latency_ms": 50, "jitter_ms": 10}, {}, shaped(database, late),
    ),
    ("latency", "publish"): ({"latency_ms": 300}, {}, shaped(published, late)),
    ("latency", "consume"): ({"latency_ms": 300}, {}, shaped(consumed, late)),
    ("latency", "cache"): ({"latency_ms": 50}, {}, shaped(cache, late)),
    ("latency", "registry"): ({"latency_ms": 900}, {}, shaped(heartbeats, late)),
    ("latency", "failpoint"): (
        {"latency_ms": 500}, {"failpoint": "bank.x"}, shaped(calls_in, late),
    ),
    ("stall", "inbound"): ({}, {}, shaped(calls_in, hang)),
    ("stall", "outbound"): ({}, {}, shaped(calls_out, hang)),
    ("stall", "database"): ({}, {}, shaped(database, hang_alone)),
    ("stall", "publish"): ({}, {}, shaped(published, hang_alone)),
    ("stall", "consume"): ({}, {}, shaped(consumed, hang_alone)),
    ("stall", "cache"): ({}, {}, shaped(cache, hang_alone)),
    ("stall", "registry"): ({}, {}, shaped(heartbeats, hang_alone)),
    ("stall", "failpoint"): ({}, {"failpoint": "bank.x"}, shaped(calls_in, hang)),
    ("concurrency", "inbound"): ({"at_once": 1, "hold_ms": 46}, {}, shaped(calls_in, late)),
    ("concurrency", "outbound"): ({"at_once": 1, "hold_ms": 46}, {}, shaped(calls_out, late)),
    ("concurrency", "failpoint"): (
        {"at_once": 1, "hold_ms": 46}, {"failpoint": "bank.x"}, shaped(calls_in, late),
    ),
    ("abort", "inbound"): ({"status": 503}, {}, shaped(calls_in, refuse)),
    ("abort", "outbound"): ({"status": 503}, {"share": 0.5}, shaped(calls_out, refuse)),
    ("gray_failure", "inbound"): (
        {"fail_share": 0.8, "status": 500}, {}, shaped(calls_in, refuse),
    ),
    ("bad_release", "inbound"): (
        {"error_share": 0.5, "status": 500}, {"version": "2"}, shaped(calls_in, refuse),
    ),
    ("corrupt", "inbound"): ({"flips": 2}, {}, shaped(calls_in, damage)),
    ("corrupt", "outbound"): ({"flips": 2}, {}, shaped(calls_out, damage)),
    ("corrupt", "consume"): ({"flips": 2}, {}, shaped(consumed, twice)),
    ("corrupt", "publish"): ({"flips": 2}, {}, dead_letters(published)),
    ("truncate", "inbound"): ({"keep_bytes": 10}, {}, shaped(calls_in, damage)),
    ("drop_header", "outbound"): ({"name": "idempotency-key"}, {}, shaped(calls_out, reject)),
    ("duplicate", "outbound"): ({}, {"share": 0.5}, shaped(calls_out, twice)),
    ("duplicate", "publish"): ({}, {"share": 0.5}, shaped(published, twice)),
    ("down", "publish"): ({}, {}, shaped(published, fail)),
    ("lost_ack", "publish"): ({}, {}, shaped(published, fail)),
    ("drop", "publish"): ({}, {}, shaped(published, lose)),
    ("drop", "consume"): ({}, {}, shaped(consumed, lose)),
    ("reorder", "consume"): ({"back_ms": 500}, {}, shaped(consumed, twice)),
    ("lost_ack", "consume"): ({}, {}, shaped(consumed, twice)),
    ("poison", "publish"): ({}, {"first_n": 3}, dead_letters(published)),
    ("poison", "consume"): ({}, {"first_n": 3}, dead_letters(consumed)),
    **{
        (kind, "database"): ({}, {}, shaped(calls_in, fail))
        for kind in ("sql_error", "read_only", "down", "lost_ack", "disk_full")
    },
    ("slow_disk", "database"): ({"latency_ms": 100}, {"share": 0.5}, shaped(database, late)),
    ("drop", "cache"): ({}, {"method": "GET"}, lambda case: pages(case, lambda *_: True)),
    ("down", "cache"): ({}, {}, lambda case: pages(case, lambda *_: True)),
    ("flush", "process"): (
        {"every_ms": 500}, {},
        lambda case: pages(
            case, lambda case, since_s, at_s: (since_s - START_S) // 0.5 != (at_s - START_S) // 0.5
        ),
    ),
    **{
        (kind, "registry"): (
            {}, {},
            lambda case: case.level(
                "registry_instances", 2.0, 1.0, 0.0, "observer", 4.0, callee=case.service
            ),
        )
        for kind in ("drop", "down")
    },
    ("lock", "process"): ({"table": "stock"}, {}, shaped(database, hang_alone)),
    ("pool_hold", "process"): (
        {"connections": 8}, {}, lambda case: case.level("db_pool_in_use", 1.0, 9.0, 0.5),
    ),
    ("block_loop", "process"): (
        {"block_ms": 300, "every_ms": 1000}, {},
        lambda case: case.counter("event_loop_lag_seconds_sum", 0.01, 0.35),
    ),
    ("slow_disk", "process"): (
        {"latency_ms": 100}, {},
        lambda case: case.counter("event_loop_lag_seconds_sum", 0.01, 0.35),
    ),
    ("burn_cpu", "process"): (
        {"duty_percent": 80, "workers": 2}, {},
        lambda case: case.counter("process_children_cpu_seconds", 0.0, 1.5),
    ),
    ("memory", "process"): (
        {"to_mb": 300}, {},
        lambda case: case.level("process_resident_memory_bytes", 90e6, 300e6, 1e6),
    ),
    ("fd_limit", "process"): (
        {"limit": 40}, {}, lambda case: case.level("process_max_fds", 1024.0, 40.0, 0.0),
    ),
    ("disk_full", "process"): ({}, {}, log_lines),
    ("skew", "process"): ({"offset_ms": -240000}, {}, clock),
    ("slow_start", "start"): ({"delay_s": 10}, {}, slow_start),
}  # fmt: skip


def judged(
    path: Path, seeds: dict[tuple[str, str], tuple[int, int]]
) -> dict[tuple[str, str], tuple[list[Judged], list[Judged]]]:
    """The judgements of inert and of working injectors of several kinds, in one archive.

    seeds: how many of each by kind and point.
    """
    world = World()
    for key, (inert, working) in seeds.items():
        for number in range(inert + working):
            _add(world, key, number, works=number >= inert)
    faults = iter(judge_faults(Run(world.write(path))))
    return {
        key: ([next(faults) for _ in range(inert)], [next(faults) for _ in range(working)])
        for key, (inert, working) in seeds.items()
    }


def _add(world: World, key: tuple[str, str], number: int, *, works: bool) -> None:
    """One fault on a service of its own."""
    (kind, point), (attributes, scope, build) = key, FAULTS[key]
    service = f"{kind}{number}"
    rng = np.random.default_rng([number, *map(ord, kind + point)])
    build(Case(world, rng, service, works, attributes, scope))
    world.rows["faults"].append(
        {"fault_id": f"{len(world.rows['faults']):05}", "kind": kind, "target": f"{service}-1",
         "point": point, "scope": json.dumps(scope), "attributes": json.dumps(attributes),
         "ttl_s": END_S - START_S, "commanded_s": START_S, "effective_s": START_S + 0.1,
         "removed_s": END_S, "hits": 30}
    )  # fmt: skip
