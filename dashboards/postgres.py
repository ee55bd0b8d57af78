"""Is PostgreSQL the bottleneck? Connections, transactions, locks and cache, by database: one a service."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.board import Row, make
from dashboards.panels import RED, Panel, Query, graph, number
from dashboards.promql import WINDOW, share


def board() -> Dashboard:
    return make(
        "postgres",
        "Breakwater: PostgreSQL",
        "As the server itself counts. Each service has a database of its own.",
        Row("Is it there, is it full?", _there()),
        Row("What does it do?", _work()),
        Row("Who waits for whom?", _waits()),
    )


def _rate(series: str, by: str) -> str:
    return f"sum by ({by}) (rate({series}{WINDOW}))"


def _there() -> list[Panel]:
    return [
        number("Does it answer?", "1 while it does.", "short", "min(postgres_up)"),
        number(
            "How full is it?",
            "Client connections, of those allowed.",
            "percentunit",
            "sum(postgres_connections) / max(postgres_connections_max)",
            (0.9, RED),
        ),
        graph(
            "Who is connected, and doing what?",
            "Client connections by database and state.",
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
            "How many transactions?",
            "Commits and rollbacks a second.",
            "cps",
            Query(
                _rate("postgres_transactions_total", "database, result"), "{{database}} {{result}}"
            ),
        ),
        graph(
            "How many rows does it touch?",
            "Rows a second; many more returned than fetched are scans without an index.",
            "cps",
            Query(
                _rate("postgres_rows_total", "database, operation"), "{{database}} {{operation}}"
            ),
        ),
        graph(
            "Does the cache hold the data?",
            "Share of blocks found in the buffer cache.",
            "percentunit",
            Query(
                share(_rate('postgres_blocks_total{source="hit"}', "database"), blocks),
                "{{database}}",
            ),
        ),
        graph(
            "How large is each database?",
            "On disk.",
            "bytes",
            Query("max by (database) (postgres_database_bytes)", "{{database}}"),
        ),
    ]


def _waits() -> list[Panel]:
    return [
        graph(
            "Who waits for a lock?",
            "Sessions that do.",
            "short",
            Query("max by (database) (postgres_locks_waiting)", "{{database}}"),
        ),
        graph(
            "How old is the oldest transaction?",
            "A long one holds locks and keeps dead rows.",
            "s",
            Query("max by (database) (postgres_longest_transaction_seconds)", "{{database}}"),
        ),
        graph(
            "Are there deadlocks?",
            "Transactions that the server ended to solve one.",
            "cps",
            Query(_rate("postgres_deadlocks_total", "database"), "{{database}}"),
            span=24,
        ),
    ]
