"""The catalogue row by row: each fault that can be had, how, and the test that measures it."""

from collections.abc import Iterator
from typing import NamedTuple


class Row(NamedTuple):
    """`add` follows `lab faults add`; `test` is file::function below tests/."""

    what: str
    add: str
    test: str


HTTP = "chassis/faults/test_http.py"
DATABASE = "chassis/faults/test_database.py"
MESSAGES = "chassis/faults/test_messages.py"
STORES = "chassis/faults/test_stores.py"
PROCESS = "chassis/faults/test_process.py"
RESTART = "chassis/faults/test_restart.py"
WHOLE = "lab/runtimes/supervisor/test_process_faults.py"
HOLDS = "lab/runtimes/compose/test_container_faults.py"
EDGES = "lab/chaos/faults/test_edge_faults.py"
PARTITIONS = "lab/chaos/faults/test_partitions.py"
TOXICS = "lab/proxy/toxics/test_toxics.py"

ROWS = tuple(
    Row(*row)
    for row in (
        ("latency on the wire", "'orders->payments' latency latency_ms=200 jitter_ms=20",
         f"{TOXICS}::test_latency_is_never_early_and_hardly_late"),
        ("request delay", "bank latency latency_ms=2000 --scope route=/authorizations",
         f"{HTTP}::test_request_delay_is_never_shorter_than_asked_and_gone_when_removed"),
        ("bandwidth", "'orders->payments' bandwidth rate_kb_s=64",
         f"{TOXICS}::test_bandwidth_is_within_five_percent"),
        ("slicer", "'orders->payments' slicer average_bytes=64",
         f"{TOXICS}::test_slicer_cuts_and_spaces"),
        ("limit_data", "'orders->payments' limit_data bytes=1000",
         f"{TOXICS}::test_limit_data_passes_exactly_its_bytes_then_closes"),
        ("slow_close", "'orders->payments' slow_close delay_ms=500",
         f"{TOXICS}::test_slow_close_delays_the_end_but_not_the_data"),
        ("blackhole", "'orders->inventory' blackhole",
         f"{EDGES}::test_a_black_hole_is_a_read_timeout_not_a_refusal"),
        ("reset, open connections too", "'gateway->orders' reset_peer after_ms=500",
         f"{EDGES}::test_a_reset_reaches_an_open_connection"),
        ("down", "'payments->bank' down",
         f"{EDGES}::test_down_refuses_and_comes_up_by_itself"),
        ("packet loss", "'orders->payments' packet_loss loss_rate=0.1",
         f"{TOXICS}::test_packet_loss_takes_whole_chunks"),
        ("connection cap", "'gateway->orders' connection_cap connections=4 when_full=refuse",
         f"{EDGES}::test_beyond_its_cap_an_edge_queues_or_refuses"),
        ("partition: full, partial, one-way", "'orders->inventory' partition",
         f"{PARTITIONS}::test_the_probed_matrix_is_the_one_that_was_asked_for"),
        ("HTTP abort before the handler", "payments abort status=503",
         f"{HTTP}::test_outbound_abort_after_does_the_work_and_before_does_not"),
        ("HTTP abort after the handler", "payments abort status=503 when=after",
         f"{HTTP}::test_outbound_abort_after_does_the_work_and_before_does_not"),
        ("fail first N, every k-th", "bank abort --scope first_n=3",
         f"{HTTP}::test_fail_first_n_and_every_kth_are_exact"),
        ("corrupt a body", "bank corrupt flips=2",
         f"{HTTP}::test_corrupt_changes_as_many_bits_as_asked_and_no_length"),
        ("truncate a body", "bank truncate keep_bytes=10",
         f"{HTTP}::test_truncate_announces_all_and_sends_a_part"),
        ("drop a header", "orders drop_header name=idempotency-key",
         f"{HTTP}::test_a_dropped_header_is_not_on_the_wire"),
        ("stalled requests", "bank stall --ttl 5",
         f"{HTTP}::test_a_stalled_handler_hangs_until_the_fault_ends"),
        ("too little concurrency", "bank concurrency at_once=2 hold_ms=100",
         f"{HTTP}::test_limited_concurrency_puts_requests_in_line"),
        ("crash", "orders-1 kill",
         f"{WHOLE}::test_what_is_killed_ends_by_that_signal_and_comes_back_like_after_a_crash"),
        ("stop", "orders-1 terminate",
         f"{WHOLE}::test_what_is_killed_ends_by_that_signal_and_comes_back_like_after_a_crash"),
        ("outage of a process", "notifications outage --ttl 20",
         f"{WHOLE}::test_an_outage_lasts_until_its_ttl"),
        ("pause", "postgres pause --ttl 5",
         f"{WHOLE}::test_a_pause_ends_at_its_ttl_by_itself"),
        ("network disconnect (container)", "payments-1 disconnect --ttl 10",
         f"{HOLDS}::test_a_disconnected_container_is_out_of_reach_and_back_at_the_ttl"),
        ("CPU limit (container)", "payments-1 cpu_limit cpus=0.1 --ttl 20",
         f"{HOLDS}::test_a_cpu_limit_is_the_kernels_quota_and_ends_at_its_ttl"),
        ("memory limit (container)", "payments-1 memory_limit limit_mb=40 --ttl 20",
         f"{HOLDS}::test_who_needs_more_than_a_memory_limit_is_ended_by_the_kernel"),
        ("failpoint crash", "orders crash --point failpoint --scope failpoint=before_confirm",
         f"{RESTART}::test_a_crash_happens_at_its_point_and_is_told_first"),
        ("crash loop", "orders-1 crash_loop after_s=2",
         f"{RESTART}::test_a_crash_loop_kills_each_process_after_its_time_until_the_ttl"),
        ("slow start", "orders-1 slow_start delay_s=10",
         f"{RESTART}::test_a_slow_start_takes_that_much_longer_to_be_ready"),
        ("event-loop block", "orders block_loop block_ms=300 every_ms=1000",
         f"{PROCESS}::test_a_blocked_loop_stops_everything_for_as_long_as_asked"),
        ("CPU burn", "orders burn_cpu duty_percent=80 workers=2",
         f"{PROCESS}::test_burning_takes_its_duty_of_a_processor_and_no_worker_stays"),
        ("memory", "orders memory to_mb=300",
         f"{PROCESS}::test_memory_grows_to_its_size_and_is_given_back"),
        ("fd limit", "gateway fd_limit limit=40",
         f"{PROCESS}::test_a_lowered_fd_limit_is_the_kernels_and_refuses_connections"),
        ("disk full: database", "orders disk_full",
         f"{DATABASE}::test_a_full_disk_refuses_what_writes_and_answers_reads"),
        ("disk full: log (ENOSPC)", "orders disk_full --point process",
         f"{PROCESS}::test_a_full_disk_under_the_log_is_the_kernels_and_the_service_goes_on"),
        ("slow disk: commits", "orders slow_disk latency_ms=100",
         f"{DATABASE}::test_a_slow_disk_delays_what_commits_and_nothing_else"),
        ("slow disk: log", "orders slow_disk latency_ms=100 --point process",
         f"{PROCESS}::test_a_slow_disk_under_the_log_blocks_who_writes_faster"),
        ("clock skew: jump", "inventory skew offset_ms=300000",
         f"{PROCESS}::test_the_clock_jumps_by_its_offset_and_back"),
        ("clock skew: drift", "inventory skew drift_ms_per_s=100",
         f"{PROCESS}::test_the_clock_drifts_at_its_rate"),
        ("slow statements", "orders latency latency_ms=50 --point database",
         f"{DATABASE}::test_a_delayed_commit_keeps_its_transaction_open"),
        ("deadlock, serialization failure", "orders sql_error sqlstate=40001 --scope share=0.2",
         f"{DATABASE}::test_an_sql_error_is_raised_by_the_server_and_undoes_the_transaction"),
        ("lock held", "inventory lock table=stock",
         f"{DATABASE}::test_a_held_lock_makes_writers_wait_until_it_is_gone"),
        ("pool held", "orders pool_hold connections=8",
         f"{DATABASE}::test_held_connections_are_missing_from_the_pool"),
        ("read-only database", "orders read_only",
         f"{DATABASE}::test_a_read_only_database_refuses_writes_and_answers_reads"),
        ("database killed", "postgres kill",
         f"{WHOLE}::test_a_killed_database_leaves_no_backend_that_keeps_it_from_coming_back"),
        ("database connections lost", "orders down --point database",
         f"{DATABASE}::test_a_database_that_is_down_loses_the_connections"),
        ("event dropped", "orders drop --point publish --scope first_n=1",
         f"{MESSAGES}::test_a_dropped_event_is_published_for_the_outbox_and_unknown_to_the_broker"),
        ("event duplicated", "orders duplicate --point publish --scope share=0.5",
         f"{MESSAGES}::test_a_duplicate_is_stored_twice_and_has_one_effect"),
        ("events reordered", "notifications reorder back_ms=500 --scope share=0.2",
         f"{MESSAGES}::test_a_reordered_event_is_overtaken_and_not_lost"),
        ("slow broker", "orders latency latency_ms=300 --point publish",
         f"{MESSAGES}::test_a_slow_broker_delays_every_event"),
        ("acknowledgement lost", "notifications lost_ack",
         f"{MESSAGES}::test_a_lost_acknowledgement_brings_the_event_again_for_one_effect"),
        ("poison message", "notifications poison --scope first_n=3",
         f"{MESSAGES}::test_a_poisoned_event_ends_as_a_dead_letter_and_others_go_on"),
        ("stalled consumer", "notifications stall --point consume --ttl 10",
         f"{MESSAGES}::test_a_stalled_consumer_falls_behind_and_catches_up"),
        ("broker down", "nats outage --ttl 15",
         f"{WHOLE}::test_an_outage_lasts_until_its_ttl"),
        ("cache flushed", "products flush every_ms=500",
         f"{STORES}::test_a_flush_empties_the_services_keys_and_costs_a_load"),
        ("cache stale", "products drop --point cache --scope method=DELETE",
         f"{STORES}::test_a_lost_invalidation_leaves_a_stale_value"),
        ("cache slow", "products latency latency_ms=50 --point cache",
         f"{STORES}::test_a_slow_cache_costs_its_delay"),
        ("cache down", "valkey outage --ttl 15",
         f"{WHOLE}::test_an_outage_lasts_until_its_ttl"),
        ("registry: stale entry", "gateway drop --point registry --scope method=WATCH",
         f"{STORES}::test_a_stale_view_keeps_an_instance_that_has_left"),
        ("registry: heartbeats lost", "products-2 drop --point registry --scope method=HEARTBEAT",
         f"{STORES}::test_lost_heartbeats_let_the_lease_run_out"),
        ("registry down", "gateway down --point registry",
         f"{STORES}::test_a_registry_that_is_down_leaves_the_last_view"),
        ("gray failure", "products-2 gray_failure fail_share=0.8",
         f"{HTTP}::test_a_gray_failure_leaves_the_health_checks_fine"),
        ("bad release", "products bad_release error_share=0.3 --scope version=2",
         f"{HTTP}::test_a_bad_release_fails_only_where_its_version_runs"),
    )
)  # fmt: skip


def page() -> Iterator[str]:
    """The lines of docs/faults.md on them."""
    yield "## The catalogue, and what measures it"
    yield f"{len(ROWS)} rows work on processes. Each has a test that measures the effect from outside: bytes, RST,"
    yield "status counts, state in `/proc`, `pg_stat`, the broker's counts. Not that something was called."
    yield ""
    yield "| fault | `lab faults add` | measured by tests/ |"
    yield "|---|---|---|"
    for row in ROWS:
        yield f"| {row.what} | `{row.add}` | `{row.test}` |"
