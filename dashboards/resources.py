"""Saturation: CPU, memory, event loops, connection pools, descriptors and telemetry."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.board import Row, make
from dashboards.panels import GREEN, RED, Panel, Query, graph, states
from dashboards.promql import WINDOW, chosen, quantile, rate


def board() -> Dashboard:
    return make(
        "resources",
        "Breakwater: resources",
        "Saturation: how close each instance is to its limits.",
        Row("Processes", _process()),
        Row("Database pools", _pools()),
        Row("Registry, broker and clocks", _registry()),
        Row("Telemetry", _telemetry()),
    )


def _process() -> list[Panel]:
    return [
        graph(
            "CPU per instance",
            "An instance runs in one thread, so it uses at most one core.",
            "cores",
            Query(f"rate({chosen('process_cpu_seconds_total')}{WINDOW})", "{{instance}}"),
            limit=1,
        ),
        graph(
            "Memory per instance",
            "Resident memory. Shared pages are counted in every process.",
            "bytes",
            Query(chosen("process_resident_memory_bytes"), "{{instance}}"),
        ),
        graph(
            "Event loop lag",
            "99th percentile of a timer's delay. All work of the process waits as long.",
            "s",
            Query(quantile(0.99, "event_loop_lag_seconds", by="instance"), "{{instance}}"),
        ),
        graph(
            "Requests in progress",
            "Requests that are being handled now.",
            "short",
            Query(chosen("http_server_active_requests"), "{{instance}}"),
        ),
        graph(
            "Open file descriptors",
            "Descriptors in use as a share of the limit.",
            "percentunit",
            Query(f"{chosen('process_open_fds')} / {chosen('process_max_fds')}", "{{instance}}"),
            limit=1,
        ),
        graph(
            "Garbage collections",
            "Collections per second, by generation.",
            "cps",
            Query(
                rate("python_gc_collections_total", by="instance, generation"),
                "{{instance}} generation {{generation}}",
            ),
        ),
    ]


def _pools() -> list[Panel]:
    return [
        graph(
            "Connections in use",
            "Connections in use as a share of the pool's maximum.",
            "percentunit",
            Query(f"{chosen('db_pool_in_use')} / {chosen('db_pool_size_max')}", "{{instance}}"),
            limit=1,
        ),
        graph(
            "Requests waiting for a connection",
            "Requests that wait now.",
            "short",
            Query(chosen("db_pool_waiting"), "{{instance}}"),
        ),
        graph(
            "Wait for a connection",
            "99th percentile of the wait.",
            "s",
            Query(quantile(0.99, "db_pool_acquire_seconds", by="instance"), "{{instance}}"),
        ),
        graph(
            "Time that a connection is in use",
            "99th percentile from acquire to release. Long transactions exhaust the pool.",
            "s",
            Query(quantile(0.99, "db_pool_hold_seconds", by="instance"), "{{instance}}"),
        ),
        graph(
            "Password hashes",
            "argon2 hashes that run or wait on users.",
            "short",
            Query(chosen("passwords_waiting"), "{{instance}}"),
            span=24,
        ),
    ]


def _registry() -> list[Panel]:
    return [
        graph(
            "Live instances in the registry",
            "Live instances of each callee, as the caller sees them. Without the broker the last known ones stay.",
            "short",
            Query(
                f"min by (service, callee) ({chosen('registry_instances')})",
                "{{service}} sees {{callee}}",
            ),
        ),
        states(
            "Connections to the broker",
            "Whether each instance is connected to NATS.",
            Query(f"min by (instance) ({chosen('broker_connected')})", "{{instance}}"),
            {0: ("lost", RED), 1: ("connected", GREEN)},
            span=12,
        ),
        graph(
            "Clock skew",
            "The service's clock minus the time of the scrape. The scrape itself takes a few ms.",
            "s",
            Query(
                f"{chosen('clock_seconds')} - timestamp({chosen('clock_seconds')})", "{{instance}}"
            ),
            span=24,
        ),
    ]


def _telemetry() -> list[Panel]:
    return [
        graph(
            "Spans",
            "Spans per second: exported, dropped because the queue was full, or failed at the collector.",
            "cps",
            Query(rate("telemetry_spans_total", by="service, result"), "{{service}} {{result}}"),
        ),
        graph(
            "Spans waiting for export",
            "The queue is bounded. When it is full, spans are dropped; requests are not delayed.",
            "short",
            Query(chosen("telemetry_spans_queued"), "{{instance}}"),
        ),
    ]
