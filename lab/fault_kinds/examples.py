"""One example of each fault: its name, and the arguments of `lab faults add`."""

from collections.abc import Iterator

EXAMPLES = {
    "latency of an edge": "'orders->payments' latency latency_ms=200 jitter_ms=20",
    "request delay": "bank latency latency_ms=2000 --scope route=/authorizations",
    "bandwidth": "'orders->payments' bandwidth rate_kb_s=64",
    "slicer": "'orders->payments' slicer average_bytes=64",
    "limit_data": "'orders->payments' limit_data bytes=1000",
    "slow_close": "'orders->payments' slow_close delay_ms=500",
    "blackhole": "'orders->inventory' blackhole",
    "reset, also of open connections": "'gateway->orders' reset_peer after_ms=500",
    "down": "'payments->bank' down",
    "packet loss": "'orders->payments' packet_loss loss_rate=0.1",
    "connection cap": "'gateway->orders' connection_cap connections=4 when_full=refuse",
    "partition: full, partial, one-way": "'orders->inventory' partition",
    "HTTP abort before the handler": "payments abort status=503",
    "HTTP abort after the handler": "payments abort status=503 when=after",
    "fail the first N or every k-th": "bank abort --scope first_n=3",
    "corrupt a body": "bank corrupt flips=2",
    "truncate a body": "bank truncate keep_bytes=10",
    "drop a header": "orders drop_header name=idempotency-key",
    "stalled requests": "bank stall --ttl 5",
    "limited concurrency": "bank concurrency at_once=2 hold_ms=100",
    "kill": "orders-1 kill",
    "terminate": "orders-1 terminate",
    "outage of a process": "notifications outage --ttl 20",
    "pause": "postgres pause --ttl 5",
    "network disconnect (container)": "payments-1 disconnect --ttl 10",
    "CPU limit (container)": "payments-1 cpu_limit cpus=0.1 --ttl 20",
    "memory limit (container)": "payments-1 memory_limit limit_mb=40 --ttl 20",
    "failpoint crash": "orders crash --point failpoint --scope failpoint=orders.after_capture_payment",
    "crash loop": "orders-1 crash_loop after_s=2",
    "slow start": "orders-1 slow_start delay_s=10",
    "event-loop block": "orders block_loop block_ms=300 every_ms=1000",
    "CPU burn": "orders burn_cpu duty_percent=80 workers=2",
    "memory": "orders memory to_mb=300",
    "fd limit": "gateway fd_limit limit=40",
    "disk full: database": "orders disk_full",
    "disk full: log (ENOSPC)": "orders disk_full --point process",
    "slow disk: commits": "orders slow_disk latency_ms=100",
    "slow disk: log": "orders slow_disk latency_ms=100 --point process",
    "clock skew: jump": "inventory skew offset_ms=300000",
    "clock skew: drift": "inventory skew drift_ms_per_s=100",
    "slow statements": "orders latency latency_ms=50 --point database",
    "deadlock, serialization failure": "orders sql_error sqlstate=40001 --scope share=0.2",
    "lock held": "inventory lock table=stock",
    "pool held": "orders pool_hold connections=8",
    "read-only database": "orders read_only",
    "database killed": "postgres kill",
    "database connections lost": "orders down --point database",
    "event dropped": "orders drop --point publish --scope first_n=1",
    "event duplicated": "orders duplicate --point publish --scope share=0.5",
    "events reordered": "notifications reorder back_ms=500 --scope share=0.2",
    "slow broker": "orders latency latency_ms=300 --point publish",
    "acknowledgement lost": "notifications lost_ack",
    "poison message": "notifications poison --scope first_n=3",
    "stalled consumer": "notifications stall --point consume --ttl 10",
    "broker down": "nats outage --ttl 15",
    "cache flushed": "products flush every_ms=500",
    "cache stale": "products drop --point cache --scope method=DELETE",
    "cache slow": "products latency latency_ms=50 --point cache",
    "cache down": "valkey outage --ttl 15",
    "registry: stale entry": "gateway drop --point registry --scope method=WATCH",
    "registry: heartbeats lost": "products-2 drop --point registry --scope method=HEARTBEAT",
    "registry down": "gateway down --point registry",
    "gray failure": "products-2 gray_failure fail_share=0.8",
    "bad release": "products bad_release error_share=0.3 --scope version=2",
}  # fmt: skip


def page() -> Iterator[str]:
    """The lines of docs/faults.md about them."""
    yield "## Examples"
    yield "One of each kind. A test measures the effect of each from outside: bytes, RST, status counts, the state"
    yield "in `/proc`, `pg_stat`, the broker's counters (`tests/docs/measured_by.py` names the tests)."
    yield ""
    yield "| fault | `lab faults add` |"
    yield "|---|---|"
    for fault, command in EXAMPLES.items():
        yield f"| {fault} | `{command}` |"
