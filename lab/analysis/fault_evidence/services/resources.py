"""Effects on the whole process: its cache, pool, event loop, processor, memory, files and clock."""

from __future__ import annotations

import math
from dataclasses import replace

from lab.analysis.fault_evidence.effect import Effect, presence, rate, share, shift
from lab.analysis.fault_evidence.services.exchanges import LEAST_DELAY, LEAST_SHARE
from lab.analysis.fault_evidence.services.seen import Seen, numbers, values_of

MB = 1e6
TICK_S = 0.1  # the event loop's lag is measured so often
LEASE_S = 3.0  # an instance that sends no heartbeat leaves the registry after it
LEAST_READS = 0.05
LEAST_LOCKED = 0.05
LEAST_LAG = 0.01  # s a second
SCRAPES = "the recorder's scrapes"


def database_reads(seen: Seen, instance: bool = False, every: bool = False) -> Effect:
    """The share of requests that read the database, because the cache did not have their page.

    After a flush it is each first request of a page. every: none is in the cache.
    """
    requests = _reads(seen, seen.fault.target if instance else None)
    before = [read for at_s, _, read in requests if at_s < seen.start_s]
    during = [read for at_s, _, read in requests if at_s >= seen.start_s]
    expected = 1.0 if every else _first_requests(seen, [(at_s, page) for at_s, page, _ in requests])
    usual = sum(before) / len(before) if before else 0.0
    least = max(LEAST_READS, LEAST_SHARE * seen.fraction * (expected - usual))
    return share(
        "requests that read the database",
        f"the database client of {seen.service}",
        before,
        during,
        least,
    )


def _reads(seen: Seen, instance: str | None) -> list[tuple[float, str, bool]]:
    """(time, page, whether it read the database) of the service's GET requests."""
    return seen.run.sql(
        """SELECT s.start_ns / 1e9, json_extract_string(s.attributes, '$."url.path"'),
            EXISTS (SELECT 1 FROM spans c WHERE c.parent_span_id = s.span_id
                AND c.kind = 'client' AND c.peer = 'postgres')
        FROM spans s WHERE s.kind = 'server' AND s.service = ? AND starts_with(s.name, 'GET ')
            AND (? IS NULL OR s.instance = ?) AND s.start_ns BETWEEN ? AND ? ORDER BY 1""",
        [seen.service, instance, instance, int(seen.before_s * 1e9), int(seen.end_s * 1e9)],
    ).fetchall()


def _first_requests(seen: Seen, requests: list[tuple[float, str]]) -> float:
    """The share of requests during the fault that are the first of their page after a flush."""
    every_s = seen.attribute("every_ms") / 1000
    flush = -1.0
    known: set[str] = set()
    first = total = 0
    for at_s, page in requests:
        if at_s < seen.start_s:
            continue
        due = math.floor((at_s - seen.start_s) / every_s) if every_s else 0.0
        if due != flush:
            flush, known = due, set()
        first, total = first + (page not in known), total + 1
        known.add(page)
    return first / total if total else 0.0


def held_connections(seen: Seen) -> Effect:
    before, during = seen.samples("db_pool_in_use")
    return shift(
        "connections in use", SCRAPES, "connections", values_of(before), values_of(during),
        LEAST_DELAY * seen.attribute("connections"),
    )  # fmt: skip


def locked_uses(seen: Seen) -> Effect:
    """Uses of the database that wait for the lock last a second or more, or half of the fault."""
    ops = seen.uses("postgres")
    least_s = min(1.0, (seen.end_s - seen.start_s) / 2)
    return share(
        f"lasted {least_s:.1f} s or longer", ops.witness,
        [op.seconds >= least_s for op in ops.before], [op.seconds >= least_s for op in ops.during],
        LEAST_LOCKED,
    )  # fmt: skip


def loop_lag(seen: Seen) -> Effect:
    """A block of B s delays the ticks in it by B, B - 0.1, ... s: together by B^2 / 0.2."""
    block_s, free_s = seen.attribute("block_ms") / 1000, seen.attribute("every_ms", 1000.0) / 1000
    cycle_s = block_s + free_s
    before, during = seen.rates("event_loop_lag_seconds_sum")
    # with less than one block a scrape, the quantile is the median of the scrapes with a block
    quantile = 0.5 if cycle_s <= 2.0 else 1.0 - 0.5 / cycle_s
    return shift(
        "lag of the event loop", SCRAPES, "s a second", before, during,
        block_s**2 / (2 * TICK_S) / max(1.0, min(cycle_s, 2.0)) * LEAST_DELAY, quantile=quantile,
    )  # fmt: skip


def children_cpu(seen: Seen) -> Effect:
    before, during = seen.rates("process_children_cpu_seconds")
    expected = seen.attribute("duty_percent", 100.0) / 100 * seen.attribute("workers", 1.0)
    return shift(
        "processors used by its child processes", SCRAPES, "processors", before, during,
        LEAST_SHARE * expected,
    )  # fmt: skip


def resident_memory(seen: Seen) -> Effect:
    before, during = (
        values_of(samples) / MB for samples in seen.samples("process_resident_memory_bytes")
    )
    usual = float(sorted(before)[len(before) // 2]) if len(before) else 0.0
    least = max(1.0, LEAST_DELAY * (seen.attribute("to_mb") - usual))
    return shift("resident memory", SCRAPES, "MB", before, during, least)


def open_files_limit(seen: Seen) -> Effect:
    limit = seen.attribute("limit")
    before, during = seen.samples("process_max_fds")
    return presence(
        f"limit of open files at {limit:g}", SCRAPES, sum(value == limit for _, value in before),
        sum(value == limit for _, value in during), len(during),
    )  # fmt: skip


def missing_log_lines(seen: Seen) -> Effect:
    """The log lines a second that are missing: all that it wrote before."""
    before, during = _lines(seen)
    usual = sum(before) / len(before) if before else 0.0
    found = rate("missing log lines", "the log's reader", during, before, LEAST_DELAY * usual)
    return replace(found, before=found.during, during=found.before)


def _lines(seen: Seen) -> tuple[list[float], list[float]]:
    def counts(start_s: float, end_s: float) -> list[float]:
        seconds = int(end_s - start_s)
        found = [0.0] * seconds
        for (at_s,) in seen.run.sql(
            "SELECT time_s FROM logs WHERE instance = ? AND time_s BETWEEN ? AND ?",
            [seen.fault.target, start_s, start_s + seconds],
        ).fetchall():
            found[min(int(at_s - start_s), seconds - 1)] += 1.0
        return found

    return counts(seen.before_s, seen.start_s), counts(seen.start_s, seen.end_s)


def log_delay(seen: Seen) -> Effect:
    before, during = seen.rates("event_loop_lag_seconds_sum")
    return shift("lag of the event loop", SCRAPES, "s a second", before, during, LEAST_LAG)


def clock_offset(seen: Seen) -> Effect:
    """The clock in the answers of the target, against the clock of the scraper."""
    before, during = (
        numbers(value - at_s for at_s, value in samples)
        for samples in seen.samples("clock_seconds")
    )
    middle_s = (seen.end_s - seen.start_s) / 2
    offset_s = (seen.attribute("offset_ms") + seen.attribute("drift_ms_per_s") * middle_s) / 1000
    sign = math.copysign(1.0, offset_s)
    found = shift(
        "offset of its clock",
        SCRAPES,
        "s",
        sign * before,
        sign * during,
        LEAST_DELAY * abs(offset_s),
    )
    if sign > 0 or found.change is None:
        return found
    return replace(found, measure="offset of its clock, backwards")


def missing_instances(seen: Seen) -> Effect:
    """The others count one instance less of the service, after the lease."""
    before, during = seen.samples(
        "registry_instances", instances="", after_s=LEASE_S + 1.0, callee=seen.service
    )
    return shift(
        "instances that the others miss", "the others' registries", "instances",
        -values_of(before), -values_of(during), 0.5,
    )  # fmt: skip


def slow_starts(seen: Seen) -> Effect:
    """The first scrape of a new process, after its start."""
    delay_s = seen.attribute("delay_s")
    taken = [first_s - start_s for start_s, first_s in starts(seen) if start_s >= seen.start_s]
    slow = sum(seconds >= delay_s for seconds in taken)
    return presence(f"starts of {delay_s:g} s or longer", SCRAPES, 0, slow, len(taken))


def starts(seen: Seen) -> list[tuple[float, float]]:
    """(start, first scrape) of each process of the target from the time before the fault on."""
    return seen.run.sql(
        """SELECT value, min(time_s) FROM metrics
        WHERE name = 'process_start_time_seconds' AND instance = ? AND time_s >= ?
        GROUP BY value ORDER BY 1""",
        [seen.fault.target, seen.before_s],
    ).fetchall()
