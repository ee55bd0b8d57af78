"""Every setting an edge's policies take from a configuration, its type and its meaning."""

from __future__ import annotations

from typing import NamedTuple


class Setting(NamedTuple):
    """One setting: accepted types, and what to tell a person about it."""

    types: tuple[type, ...]
    meaning: str
    choices: tuple[str, ...] = ()


def _seconds(meaning: str) -> Setting:
    return Setting((int, float), f"seconds; {meaning}")


def _number(meaning: str) -> Setting:
    return Setting((int, float), meaning)


def _count(meaning: str) -> Setting:
    return Setting((int,), meaning)


_PROBING = {
    "wait_open_s": _seconds("how long it stays open before probing"),
    "permitted_half_open": _count("probes admitted while half-open"),
    "half_open_s_max": _seconds("half-open longer than this opens again"),
}

SETTINGS: dict[str, dict[str, Setting]] = {
    "retry": {
        "max_attempts": _count("attempts in all, the first included"),
        "backoff_base_s": _seconds("ceiling of the first random pause, doubled each time"),
        "backoff_cap_s": _seconds("ceiling of any random pause"),
        "retry_after_s_max": _seconds("asked to wait longer, it gives up"),
    },
    "budget": {
        "capacity": _number("retries granted at once"),
        "deposit": _number("retries earned by a success"),
    },
    "throttle": {
        "k": _number(">= 1; calls sent for each accepted one"),
        "window_s": _seconds("how far back requests and accepts count"),
    },
    "breaker": {
        "window": Setting((str,), "what the window holds", ("COUNT_BASED", "TIME_BASED")),
        "window_size": _count("calls or seconds"),
        "failure_rate_threshold": _number("share in (0, 1]"),
        "slow_call_rate_threshold": _number("share in (0, 1]"),
        "slow_call_duration_s": _seconds("longer calls are slow"),
        "minimum_calls": _count("calls in the window before it may trip"),
        **_PROBING,
    },
    "consecutive": {"run_length": _count("failures in a row that trip"), **_PROBING},
    "rate_limiter": {
        "rate_per_s": _number("tokens a second"),
        "burst": _count("tokens at most"),
        "wait_s_max": _seconds("wait for a token at most"),
    },
    "hedge": {
        "delay_s": _seconds("wait before a second copy"),
        "quantile": _number("share in (0, 1]; learn the delay as this quantile"),
        "copies_max": _count("copies in all"),
    },
    "bulkhead": {
        "permits": _count("calls at once"),
        "queue": _count("calls waiting at most"),
        "wait_s_max": _seconds("wait in the queue at most"),
    },
    "adaptive_limit": {
        "algorithm": Setting((str,), "how the limit learns", ("gradient2", "aimd")),
        "initial": _count("calls at once at first"),
        "least": _count("calls at once at least"),
        "most": _count("calls at once at most"),
    },
    "timeout": {"seconds": _seconds("the longest an attempt may take")},
}
