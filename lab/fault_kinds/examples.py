"""One example of each fault: its name, and the arguments of `lab faults add`."""

from collections.abc import Iterator
from typing import NamedTuple


class Example(NamedTuple):
    """`command` follows `lab faults add`."""

    fault: str
    command: str


EXAMPLES = (
    Example("latency of an edge", "'orders->payments' latency latency_ms=200 jitter_ms=20"),
    Example("request delay", "bank latency latency_ms=2000 --scope route=/authorizations"),
    Example("bandwidth", "'orders->payments' bandwidth rate_kb_s=64"),
    Example("slicer", "'orders->payments' slicer average_bytes=64"),
    Example("limit_data", "'orders->payments' limit_data bytes=1000"),
    Example("slow_close", "'orders->payments' slow_close delay_ms=500"),
    Example("blackhole", "'orders->inventory' blackhole"),
    Example("reset, also of open connections", "'gateway->orders' reset_peer after_ms=500"),
    Example("down", "'payments->bank' down"),
    Example("packet loss", "'orders->payments' packet_loss loss_rate=0.1"),
    Example("connection cap", "'gateway->orders' connection_cap connections=4 when_full=refuse"),
    Example("partition: full, partial, one-way", "'orders->inventory' partition"),
    Example("HTTP abort before the handler", "payments abort status=503"),
    Example("HTTP abort after the handler", "payments abort status=503 when=after"),
    Example("fail the first N or every k-th", "bank abort --scope first_n=3"),
    Example("corrupt a body", "bank corrupt flips=2"),
    Example("truncate a body", "bank truncate keep_bytes=10"),
    Example("drop a header", "orders drop_header name=idempotency-key"),
    Example("stalled requests", "bank stall --ttl 5"),
    Example("limited concurrency", "bank concurrency at_once=2 hold_ms=100"),
    Example("kill", "orders-1 kill"),
    Example("terminate", "orders-1 terminate"),
    Example("outage of a process", "notifications outage --ttl 20"),
    Example("pause", "postgres pause --ttl 5"),
    Example("network disconnect (container)", "payments-1 disconnect --ttl 10"),
    Example("CPU limit (container)", "payments-1 cpu_limit cpus=0.1 --ttl 20"),
    Example("memory limit (container)", "payments-1 memory_limit limit_mb=40 --ttl 20"),
    Example(
        "failpoint crash",
        "orders crash --point failpoint --scope failpoint=orders.after_capture_payment",
    ),
    Example("crash loop", "orders-1 crash_loop after_s=2"),
    Example("slow start", "orders-1 slow_start delay_s=10"),
    Example("event-loop block", "orders block_loop block_ms=300 every_ms=1000"),
    Example("CPU burn", "orders burn_cpu duty_percent=80 workers=2"),
    Example("memory", "orders memory to_mb=300"),
    Example("fd limit", "gateway fd_limit limit=40"),
    Example("disk full: database", "orders disk_full"),
    Example("disk full: log (ENOSPC)", "orders disk_full --point process"),
    Example("slow disk: commits", "orders slow_disk latency_ms=100"),
    Example("slow disk: log", "orders slow_disk latency_ms=100 --point process"),
    Example("clock skew: jump", "inventory skew offset_ms=300000"),
    Example("clock skew: drift", "inventory skew drift_ms_per_s=100"),
    Example("slow statements", "orders latency latency_ms=50 --point database"),
    Example("deadlock, serialization failure", "orders sql_error sqlstate=40001 --scope share=0.2"),
    Example("lock held", "inventory lock table=stock"),
    Example("pool held", "orders pool_hold connections=8"),
    Example("read-only database", "orders read_only"),
    Example("database killed", "postgres kill"),
    Example("database connections lost", "orders down --point database"),
    Example("event dropped", "orders drop --point publish --scope first_n=1"),
    Example("event duplicated", "orders duplicate --point publish --scope share=0.5"),
    Example("events reordered", "notifications reorder back_ms=500 --scope share=0.2"),
    Example("slow broker", "orders latency latency_ms=300 --point publish"),
    Example("acknowledgement lost", "notifications lost_ack"),
    Example("poison message", "notifications poison --scope first_n=3"),
    Example("stalled consumer", "notifications stall --point consume --ttl 10"),
    Example("broker down", "nats outage --ttl 15"),
    Example("cache flushed", "products flush every_ms=500"),
    Example("cache stale", "products drop --point cache --scope method=DELETE"),
    Example("cache slow", "products latency latency_ms=50 --point cache"),
    Example("cache down", "valkey outage --ttl 15"),
    Example("registry: stale entry", "gateway drop --point registry --scope method=WATCH"),
    Example(
        "registry: heartbeats lost", "products-2 drop --point registry --scope method=HEARTBEAT"
    ),
    Example("registry down", "gateway down --point registry"),
    Example("gray failure", "products-2 gray_failure fail_share=0.8"),
    Example("bad release", "products bad_release error_share=0.3 --scope version=2"),
)


def page() -> Iterator[str]:
    """The lines of docs/faults.md about them."""
    yield "## Examples"
    yield "One of each kind. A test measures the effect of each from outside: bytes, RST, status counts, the state"
    yield "in `/proc`, `pg_stat`, the broker's counters (`tests/docs/measured_by.py` names the tests)."
    yield ""
    yield "| fault | `lab faults add` |"
    yield "|---|---|"
    for example in EXAMPLES:
        yield f"| {example.fault} | `{example.command}` |"
