"""What a lab did, counted by its own metrics: hops, spans, transactions, messages; and statements from a log."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from lab.http_client import exchange
from lab.prometheus_text import samples
from lab.state import Lab

OPERATOR_ROUTES = ("/health", "/ready", "/metrics")
LOG_SETTLE_S = 0.5
# log_line_prefix is "%m [%p] %q%u@%d "
_ENTRY = re.compile(
    r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ \S+ \[\d+\] (?:\S+@(\S+) )?(\w+): +(.*)", re.S
)
_DURATION = re.compile(
    r"duration: ([\d.]+) ms  (parse|bind|execute|statement)(?: [^:]*)?: (.*)", re.S
)


async def counts(lab: Lab) -> Counter[str]:
    """Counts so far, of the whole lab."""
    found: Counter[str] = Counter()
    for entry in lab.instances:
        page = str(exchange("GET", f"{entry.address}/metrics", token=lab.token).body)
        for name, labels, value in samples(page):
            if name == "http_server_request_duration_seconds_count":
                if labels.get("http_route") not in OPERATOR_ROUTES:
                    found["server hops"] += int(value)
            elif name == "http_client_request_duration_seconds_count":
                found["client hops"] += int(value)
            elif name == "telemetry_spans_total" and labels["result"] == "exported":
                found["spans"] += int(value)
    broker = exchange("GET", f"{lab.addresses['nats_monitoring']}/varz").body
    found["messages to the broker"] += broker["in_msgs"]
    found["messages from the broker"] += broker["out_msgs"]
    admin = await asyncpg.connect(lab.addresses["postgres"])
    try:
        found["transactions"] += await admin.fetchval(
            "SELECT sum(xact_commit + xact_rollback)::int FROM pg_stat_database WHERE datname = ANY($1)",
            list(lab.databases),
        )
    finally:
        await admin.close()
    return found


@dataclass
class Statement:
    """All executions of one statement in one database. `ms` is the server's time for all of them."""

    database: str
    text: str
    calls: int = 0
    ms: float = 0.0


@asynccontextmanager
async def statements(lab: Lab) -> AsyncIterator[list[Statement]]:
    """Log every statement for the time of the block; then the list has them, the most expensive first."""
    found: list[Statement] = []
    log = Path(lab.home) / "logs" / "postgres.log"
    await _log_statements(lab, "0")
    start = log.stat().st_size
    try:
        yield found
    finally:
        await _log_statements(lab, "-1")
        with log.open(errors="replace") as file:
            file.seek(start)
            found += _statements(file.read())


def _statements(log: str) -> list[Statement]:
    table: dict[tuple[str, str], Statement] = {}
    for entry in re.split(r"\n(?=\d{4}-\d\d-\d\d )", log):
        if (line := _ENTRY.match(entry)) is None or (duration := _DURATION.match(line[3])) is None:
            continue
        ms, phase, sql = duration.groups()
        text = " ".join(sql.split())
        one = table.setdefault((line[1], text), Statement(line[1], text))
        one.ms += float(ms)
        one.calls += phase in ("execute", "statement")
    return sorted(table.values(), key=lambda each: -each.ms)


async def _log_statements(lab: Lab, least_ms: str) -> None:
    admin = await asyncpg.connect(lab.addresses["postgres"])
    try:
        await admin.execute(f"ALTER SYSTEM SET log_min_duration_statement = {least_ms}")
        await admin.execute("SELECT pg_reload_conf(), pg_sleep(0.2)")
    finally:
        await admin.close()
