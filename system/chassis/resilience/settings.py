"""Every setting that a configuration can contain, by kind of policy, with its type and meaning."""

from __future__ import annotations

from typing import NamedTuple


class Setting(NamedTuple):
    """One setting: its accepted types, its meaning, its choices if they are a fixed set."""

    types: tuple[type, ...]
    meaning: str
    choices: tuple[str, ...] = ()


def _seconds(meaning: str) -> Setting:
    return Setting((int, float), f"seconds; {meaning}")


def _number(meaning: str) -> Setting:
    return Setting((int, float), meaning)


def _count(meaning: str) -> Setting:
    return Setting((int,), meaning)


_HALF_OPEN = {
    "wait_open_s": _seconds("time open before the first trial call"),
    "permitted_half_open": _count("trial calls admitted while half-open"),
    "half_open_s_max": _seconds("time half-open after which it opens again"),
}

SETTINGS: dict[str, dict[str, Setting]] = {
    "retry": {
        "max_attempts": _count("attempts in total, including the first"),
        "backoff_base_s": _seconds("maximum of the first random pause, doubled each time"),
        "backoff_cap_s": _seconds("maximum of any random pause"),
        "retry_after_s_max": _seconds("a longer requested wait ends the retries"),
    },
    "budget": {
        "capacity": _number("retries allowed at once"),
        "deposit": _number("retries added by a success"),
    },
    "throttle": {
        "k": _number(">= 1; calls sent per accepted call"),
        "window_s": _seconds("time for which requests and accepts are counted"),
    },
    "breaker": {
        "window": Setting((str,), "kind of window", ("COUNT_BASED", "TIME_BASED")),
        "window_size": _count("calls (COUNT_BASED) or seconds (TIME_BASED)"),
        "failure_rate_threshold": _number("share in (0, 1] of failed calls that opens it"),
        "slow_call_rate_threshold": _number("share in (0, 1] of slow calls that opens it"),
        "slow_call_duration_s": _seconds("longer calls are slow"),
        "minimum_calls": _count("calls in the window before it can open"),
        **_HALF_OPEN,
    },
    "consecutive": {"run_length": _count("failures in a row that open it"), **_HALF_OPEN},
    "rate_limiter": {
        "rate_per_s": _number("tokens per second"),
        "burst": _count("maximum number of tokens"),
        "wait_s_max": _seconds("maximum wait for a token"),
    },
    "hedge": {
        "delay_s": _seconds("delay before another copy"),
        "quantile": _number("share in (0, 1]; the delay is this quantile of recent latencies"),
        "copies_max": _count("copies in total"),
    },
    "bulkhead": {
        "permits": _count("calls at the same time"),
        "queue": _count("maximum number of waiting calls"),
        "wait_s_max": _seconds("maximum wait in the queue"),
    },
    "adaptive_limit": {
        "algorithm": Setting((str,), "algorithm of the limit", ("gradient2", "aimd")),
        "initial": _count("limit at the start"),
        "least": _count("lowest limit"),
        "most": _count("highest limit"),
    },
    "timeout": {"seconds": _seconds("maximum duration of an attempt")},
}
