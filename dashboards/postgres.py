"""PostgreSQL: connections, transactions, locks and cache, by database. Each service has one."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.board import Row, make
from dashboards.panels import RED, Panel, Query, graph, number
from dashboards.promql import WINDOW, share


def board() -> Dashboard:
    return make(
        "postgres",
        "Breakwater: PostgreSQL",
        "The server's own counters. Each service has its own database.",
        Row("Server and connections", _server()),
        Row("Work", _work()),
        Row("Locks", _locks()),
    )


def _rate(series: str, by: str) -> str:
    return f"sum by ({by}) (rate({series}{WINDOW}))"


def _server() -> list[Panel]:
    return [
        number("Up", "1 while PostgreSQL answers.", "short", "min(postgres_up)"),
        number(
            "Connections in use",
            "Client connections as a share of the limit.",
            "percentunit",
            "sum(postgres_connections) / max(postgres_connections_max)",
            (0.9, RED),
        ),
        graph(
            "Connections per database",
            "Client connections, by state.",
            "short",
            Query("sum by (database, state) (postgres_connections)", "{{database}} {{state}}"),
            stacked=True,
            span=16,
        ),
    ]


def _work() -> list[Panel]:
    blocks = _rate("postgres_blocks_total", "database")
    return [
        graph(
            "Transactions",
            "Commits and rollbacks per second.",
            "cps",
            Query(
                _rate("postgres_transactions_total", "database, result"), "{{database}} {{result}}"
            ),
        ),
        graph(
            "Rows",
            "Rows per second. Many more rows returned than fetched means scans without an index.",
            "cps",
            Query(
                _rate("postgres_rows_total", "database, operation"), "{{database}} {{operation}}"
            ),
        ),
        graph(
            "Buffer cache hit rate",
            "Share of blocks that were found in the buffer cache.",
            "percentunit",
            Query(
                share(_rate('postgres_blocks_total{source="hit"}', "database"), blocks),
                "{{database}}",
            ),
        ),
        graph(
            "Size of each database",
            "Bytes on disk.",
            "bytes",
            Query("max by (database) (postgres_database_bytes)", "{{database}}"),
        ),
    ]


def _locks() -> list[Panel]:
    return [
        graph(
            "Sessions waiting for a lock",
            "Sessions per database.",
            "short",
            Query("max by (database) (postgres_locks_waiting)", "{{database}}"),
        ),
        graph(
            "Age of the oldest transaction",
            "A long transaction holds locks and keeps dead rows.",
            "s",
            Query("max by (database) (postgres_longest_transaction_seconds)", "{{database}}"),
        ),
        graph(
            "Deadlocks",
            "Transactions that the server aborted to resolve a deadlock.",
            "cps",
            Query(_rate("postgres_deadlocks_total", "database"), "{{database}}"),
            span=24,
        ),
    ]
