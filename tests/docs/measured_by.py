"""The test that measures each example of lab/fault_kinds/examples.toml: file::function below tests/."""

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

MEASURED_BY = {
    "latency of an edge": (TOXICS, "test_latency_is_never_early_and_at_most_a_little_late"),
    "request delay": (HTTP, "test_a_request_delay_is_never_too_short_and_ends_with_the_fault"),
    "bandwidth": (TOXICS, "test_bandwidth_is_within_five_percent"),
    "slicer": (TOXICS, "test_slicer_cuts_and_spaces"),
    "limit_data": (TOXICS, "test_limit_data_passes_exactly_its_bytes_then_closes"),
    "slow_close": (TOXICS, "test_slow_close_delays_the_end_but_not_the_data"),
    "blackhole": (EDGES, "test_a_black_hole_causes_a_read_timeout_and_no_refusal"),
    "reset, also of open connections": (EDGES, "test_a_reset_reaches_an_open_connection"),
    "down": (EDGES, "test_down_refuses_connections_until_its_ttl"),
    "packet loss": (TOXICS, "test_packet_loss_takes_whole_chunks"),
    "connection cap": (EDGES, "test_beyond_its_cap_an_edge_queues_or_refuses"),
    "partition: full, partial, one-way": (
        PARTITIONS,
        "test_the_probed_matrix_is_the_commanded_one",
    ),
    "HTTP abort before the handler": (
        HTTP,
        "test_outbound_abort_after_does_the_work_and_before_does_not",
    ),
    "HTTP abort after the handler": (
        HTTP,
        "test_outbound_abort_after_does_the_work_and_before_does_not",
    ),
    "fail the first N or every k-th": (HTTP, "test_fail_first_n_and_every_kth_are_exact"),
    "corrupt a body": (HTTP, "test_corrupt_flips_exactly_the_given_bits_and_keeps_the_length"),
    "truncate a body": (HTTP, "test_truncate_announces_the_full_length_and_sends_a_part"),
    "drop a header": (HTTP, "test_a_dropped_header_is_not_sent"),
    "stalled requests": (HTTP, "test_a_stalled_handler_hangs_until_the_fault_ends"),
    "limited concurrency": (HTTP, "test_limited_concurrency_queues_requests"),
    "kill": (WHOLE, "test_a_killed_process_ends_by_that_signal_and_restarts_as_after_a_crash"),
    "terminate": (WHOLE, "test_a_killed_process_ends_by_that_signal_and_restarts_as_after_a_crash"),
    "outage of a process": (WHOLE, "test_an_outage_lasts_until_its_ttl"),
    "pause": (WHOLE, "test_a_pause_ends_at_its_ttl_by_itself"),
    "network disconnect (container)": (
        HOLDS,
        "test_a_disconnected_container_is_unreachable_until_the_ttl",
    ),
    "CPU limit (container)": (HOLDS, "test_a_cpu_limit_is_the_kernels_quota_and_ends_at_its_ttl"),
    "memory limit (container)": (
        HOLDS,
        "test_a_process_above_its_memory_limit_is_killed_by_the_kernel",
    ),
    "failpoint crash": (RESTART, "test_a_crash_happens_at_its_point_after_it_is_logged"),
    "crash loop": (RESTART, "test_a_crash_loop_kills_each_process_after_its_time_until_the_ttl"),
    "slow start": (RESTART, "test_a_slow_start_delays_readiness_by_its_time"),
    "event-loop block": (PROCESS, "test_a_blocked_loop_stops_everything_for_the_given_time"),
    "CPU burn": (PROCESS, "test_burning_uses_its_duty_of_a_processor_and_no_worker_stays"),
    "memory": (PROCESS, "test_memory_grows_to_its_size_and_is_released"),
    "fd limit": (PROCESS, "test_a_lowered_fd_limit_is_the_kernels_and_refuses_connections"),
    "disk full: database": (DATABASE, "test_a_full_disk_refuses_writes_and_answers_reads"),
    "disk full: log (ENOSPC)": (
        PROCESS,
        "test_log_writes_fail_with_enospc_and_the_service_continues",
    ),
    "slow disk: commits": (DATABASE, "test_a_slow_disk_delays_commits_and_nothing_else"),
    "slow disk: log": (PROCESS, "test_a_slow_disk_under_the_log_blocks_a_faster_writer"),
    "clock skew: jump": (PROCESS, "test_the_clock_jumps_by_its_offset_and_back"),
    "clock skew: drift": (PROCESS, "test_the_clock_drifts_at_its_rate"),
    "slow statements": (DATABASE, "test_a_delayed_commit_keeps_its_transaction_open"),
    "deadlock, serialization failure": (
        DATABASE,
        "test_an_sql_error_is_raised_by_the_server_and_rolls_the_transaction_back",
    ),
    "lock held": (DATABASE, "test_a_held_lock_makes_writers_wait_until_its_end"),
    "pool held": (DATABASE, "test_held_connections_are_missing_from_the_pool"),
    "read-only database": (DATABASE, "test_a_read_only_database_refuses_writes_and_answers_reads"),
    "database killed": (WHOLE, "test_a_killed_database_leaves_no_backend_and_restarts"),
    "database connections lost": (DATABASE, "test_a_database_that_is_down_loses_the_connections"),
    "event dropped": (
        MESSAGES,
        "test_a_dropped_event_is_published_for_the_outbox_and_unknown_to_the_broker",
    ),
    "event duplicated": (MESSAGES, "test_a_duplicate_is_stored_twice_and_has_one_effect"),
    "events reordered": (MESSAGES, "test_a_reordered_event_is_overtaken_and_not_lost"),
    "slow broker": (MESSAGES, "test_a_slow_broker_delays_every_event"),
    "acknowledgement lost": (
        MESSAGES,
        "test_an_event_with_a_lost_acknowledgement_is_redelivered_and_has_one_effect",
    ),
    "poison message": (
        MESSAGES,
        "test_a_poisoned_event_becomes_a_dead_letter_and_others_are_handled",
    ),
    "stalled consumer": (MESSAGES, "test_a_stalled_consumer_falls_behind_and_catches_up"),
    "broker down": (WHOLE, "test_an_outage_lasts_until_its_ttl"),
    "cache flushed": (STORES, "test_a_flush_empties_the_services_keys_and_costs_a_load"),
    "cache stale": (STORES, "test_a_lost_invalidation_leaves_a_stale_value"),
    "cache slow": (STORES, "test_a_slow_cache_costs_its_delay"),
    "cache down": (WHOLE, "test_an_outage_lasts_until_its_ttl"),
    "registry: stale entry": (STORES, "test_a_stale_view_keeps_an_instance_that_has_left"),
    "registry: heartbeats lost": (STORES, "test_lost_heartbeats_let_the_lease_run_out"),
    "registry down": (STORES, "test_a_registry_that_is_down_leaves_the_last_view"),
    "gray failure": (HTTP, "test_health_checks_succeed_during_a_gray_failure"),
    "bad release": (HTTP, "test_a_bad_release_fails_only_where_its_version_runs"),
}
