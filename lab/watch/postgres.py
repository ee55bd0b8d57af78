"""Metrics of PostgreSQL from its statistics views (`pg_stat_*`), one series per database of a service."""

from __future__ import annotations

from typing import Any

import asyncpg

from lab.prometheus_text import Exposition

Rows = tuple[list[asyncpg.Record], list[asyncpg.Record], int]

_DATABASES = """
SELECT datname, xact_commit, xact_rollback, blks_hit, blks_read, deadlocks, tup_returned, tup_fetched,
       tup_inserted, tup_updated, tup_deleted, pg_database_size(datid) AS bytes
FROM pg_stat_database WHERE datname NOT IN ('postgres', 'template0', 'template1')
"""
_SESSIONS = """
SELECT datname, coalesce(state, 'starting') AS state, count(*) AS sessions,
       count(*) FILTER (WHERE wait_event_type = 'Lock') AS waiting,
       coalesce(max(extract(epoch FROM now() - xact_start)), 0)::float AS longest_s
FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
GROUP BY datname, state
"""
_LIMIT = "SELECT current_setting('max_connections')::int"

TRANSACTIONS = {"commit": "xact_commit", "rollback": "xact_rollback"}
BLOCKS = {"hit": "blks_hit", "read": "blks_read"}
ROWS = {each: f"tup_{each}" for each in ("returned", "fetched", "inserted", "updated", "deleted")}


async def fetch(connection: asyncpg.Connection) -> Rows:
    """Returns (databases, sessions, allowed connections). Raises asyncpg's errors."""
    return (
        await connection.fetch(_DATABASES),
        await connection.fetch(_SESSIONS),
        await connection.fetchval(_LIMIT),
    )


def write_metrics(page: Exposition, rows: Rows) -> None:
    databases, sessions, limit = rows
    page.family("postgres_connections_max", "gauge", "Allowed connections")
    page.sample(limit)
    page.family("postgres_connections", "gauge", "Client connections")
    for row in sessions:
        page.sample(row["sessions"], database=row["datname"] or "", state=row["state"])
    waiting = _by_database(sessions, "waiting", sum)
    page.family("postgres_locks_waiting", "gauge", "Sessions waiting for a lock")
    for row in databases:
        page.sample(waiting.get(row["datname"], 0), database=row["datname"])
    longest = _by_database(sessions, "longest_s", max)
    page.family("postgres_longest_transaction_seconds", "gauge", "Age of the oldest transaction")
    for row in databases:
        page.sample(longest.get(row["datname"], 0.0), database=row["datname"])
    for name, label, columns in (
        ("postgres_transactions_total", "result", TRANSACTIONS),
        ("postgres_rows_total", "operation", ROWS),
        ("postgres_blocks_total", "source", BLOCKS),
    ):
        page.family(name, "counter", f"pg_stat_database, by {label}")
        for row in databases:
            for value, column in columns.items():
                page.sample(row[column], **{"database": row["datname"], label: value})
    for name, kind, column in (
        ("postgres_deadlocks_total", "counter", "deadlocks"),
        ("postgres_database_bytes", "gauge", "bytes"),
    ):
        page.family(name, kind, "By database")
        for row in databases:
            page.sample(row[column], database=row["datname"])


def _by_database(rows: list[asyncpg.Record], column: str, join: Any) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for row in rows:
        values.setdefault(row["datname"], []).append(row[column])
    return {name: join(each) for name, each in values.items()}
