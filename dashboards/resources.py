"""What runs out first? CPU, memory, event loops, connection pools, descriptors, and the telemetry itself."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.board import Row, make
from dashboards.panels import GREEN, RED, Panel, Query, graph, states
from dashboards.promql import WINDOW, chosen, quantile, rate


def board() -> Dashboard:
    return make(
        "resources",
        "Breakwater: resources",
        "Saturation: how close each instance is to its limits.",
        Row("Is the process busy?", _process()),
        Row("Is the database pool too small?", _pools()),
        Row("Does an instance see the others?", _sight()),
        Row("Is the telemetry whole?", _telemetry()),
    )


def _process() -> list[Panel]:
    return [
        graph(
            "How much CPU does each instance use?",
            "An instance is one thread: it cannot use more than one core.",
            "cores",
            Query(f"rate({chosen('process_cpu_seconds_total')}{WINDOW})", "{{instance}}"),
            limit=1,
        ),
        graph(
            "How much memory?",
            "Resident set; pages shared with the others are counted in each.",
            "bytes",
            Query(chosen("process_resident_memory_bytes"), "{{instance}}"),
        ),
        graph(
            "Is an event loop held up?",
            "99th percentile of how late a timer comes: everything in the process waits as long.",
            "s",
            Query(quantile(0.99, "event_loop_lag_seconds", by="instance"), "{{instance}}"),
        ),
        graph(
            "How many requests are in work?",
            "Requests being handled now.",
            "short",
            Query(chosen("http_server_active_requests"), "{{instance}}"),
        ),
        graph(
            "How close is the limit of open files?",
            "Descriptors in use, of those allowed.",
            "percentunit",
            Query(f"{chosen('process_open_fds')} / {chosen('process_max_fds')}", "{{instance}}"),
            limit=1,
        ),
        graph(
            "How often does Python collect garbage?",
            "Collections a second, by generation.",
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
            "How full are the pools?",
            "Connections lent out, of those allowed.",
            "percentunit",
            Query(f"{chosen('db_pool_in_use')} / {chosen('db_pool_size_max')}", "{{instance}}"),
            limit=1,
        ),
        graph(
            "Who waits for a connection?",
            "Requests in line for one.",
            "short",
            Query(chosen("db_pool_waiting"), "{{instance}}"),
        ),
        graph(
            "How long is the wait for a connection?",
            "99th percentile.",
            "s",
            Query(quantile(0.99, "db_pool_acquire_seconds", by="instance"), "{{instance}}"),
        ),
        graph(
            "How long is one held?",
            "99th percentile, from lent out to given back: long transactions starve the pool.",
            "s",
            Query(quantile(0.99, "db_pool_hold_seconds", by="instance"), "{{instance}}"),
        ),
        graph(
            "How many passwords wait to be hashed?",
            "argon2 in work or in line on users.",
            "short",
            Query(chosen("passwords_waiting"), "{{instance}}"),
            span=24,
        ),
    ]


def _sight() -> list[Panel]:
    return [
        graph(
            "How many instances of its callees does each see?",
            "Live ones of the registry; when the broker is away the last known ones stay.",
            "short",
            Query(
                f"min by (service, callee) ({chosen('registry_instances')})",
                "{{service}} sees {{callee}}",
            ),
        ),
        states(
            "Who is connected to the broker?",
            "Whether the NATS connection stands.",
            Query(f"min by (instance) ({chosen('broker_connected')})", "{{instance}}"),
            {0: ("lost", RED), 1: ("connected", GREEN)},
            span=12,
        ),
        graph(
            "Do the clocks agree?",
            "The service's clock minus the time of the scrape; a few ms are the scrape itself.",
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
            "How many spans end?",
            "Exported, dropped because the queue was full, or failed at the collector.",
            "cps",
            Query(rate("telemetry_spans_total", by="service, result"), "{{service}} {{result}}"),
        ),
        graph(
            "How many spans wait for export?",
            "The queue is bounded: above its limit spans are dropped, never requests delayed.",
            "short",
            Query(chosen("telemetry_spans_queued"), "{{instance}}"),
        ),
    ]
