"""Outlier ejection: take one bad instance out of the balancing for a while, never all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import ClassVar

from chassis.resilience.checks import at_least, not_negative, positive, share
from chassis.resilience.clock import SYSTEM_CLOCK, Clock
from chassis.resilience.events import Event, Kind, Listener, emit
from chassis.resilience.policy import Switchable

SMOOTHING = 0.1  # weight of the newest latency in a host's average


@dataclass(slots=True)
class _Host:
    bad_run: int = 0
    calls: int = 0
    latency_s: float = 0.0  # exponential average since it was (re)admitted
    ejections: int = 0
    ejected_until: float | None = None
    admitted_at: float = 0.0


class OutlierEjection(Switchable):
    """Which of an edge's hosts a balancing client may use. Not a Policy: it runs no call.

    A host leaves after `consecutive` bad calls in a row (failed, or longer than `slow_s`), or when
    its average latency over at least `slow_calls_min` calls exceeds both `slow_ratio` times the
    median of the other hosts and that median plus `slow_gap_s`. It stays out for `base_s` times
    its recent ejections (one is forgotten per `interval_s` spent inside), at most `base_s_max`.
    At most a share `share_max` of the hosts is out, yet always one may be, and never the last.
    After Envoy's outlier detection, whose defaults these are; Envoy does not look at latency.
    """

    kind: ClassVar[str] = "outlier"

    def __init__(
        self,
        edge: str,
        *,
        consecutive: int = 5,
        base_s: float = 30.0,
        base_s_max: float = 300.0,
        share_max: float = 0.1,
        interval_s: float = 10.0,
        slow_s: float | None = None,
        slow_ratio: float | None = None,
        slow_calls_min: int = 20,
        slow_gap_s: float = 0.01,
        clock: Clock = SYSTEM_CLOCK,
        listener: Listener | None = None,
    ) -> None:
        self.edge = edge
        self.consecutive = at_least("consecutive", consecutive, 1)
        self.base_s = positive("base_s", base_s)
        self.base_s_max = max(base_s, positive("base_s_max", base_s_max))
        self.share_max = share("share_max", share_max)
        self.interval_s = positive("interval_s", interval_s)
        self.slow_s = None if slow_s is None else positive("slow_s", slow_s)
        if slow_ratio is not None and slow_ratio <= 1:
            raise ValueError(f"slow_ratio must be > 1, got {slow_ratio!r}")
        self.slow_ratio = slow_ratio
        self.slow_calls_min = at_least("slow_calls_min", slow_calls_min, 1)
        self.slow_gap_s = not_negative("slow_gap_s", slow_gap_s)
        self.clock = clock
        self.listener = listener
        self._hosts: dict[str, _Host] = {}

    def available(self, hosts: Sequence[str]) -> list[str]:
        """Those of `hosts` in use now, in their order; all of them if none would remain.

        `hosts` is the current membership: hosts no longer in it are forgotten.
        """
        now = self.clock.monotonic()
        for host in hosts:
            if host not in self._hosts:
                self._hosts[host] = _Host(admitted_at=now)
        if len(self._hosts) > len(hosts):
            self._hosts = {host: self._hosts[host] for host in hosts}
        for name, state in self._hosts.items():
            if state.ejected_until is not None and now >= state.ejected_until:
                self._readmit(name, state, now)
        if not self.enabled:
            return list(hosts)
        inside = [host for host in hosts if self._hosts[host].ejected_until is None]
        return inside or list(hosts)

    def record(self, host: str, ok: bool, latency_s: float) -> None:
        """Count one call to `host`; may eject it. Unknown and ejected hosts are ignored."""
        state = self._hosts.get(host)
        if state is None or state.ejected_until is not None:
            return
        state.calls += 1
        weight = max(SMOOTHING, 1 / state.calls)
        state.latency_s += (latency_s - state.latency_s) * weight
        if ok and (self.slow_s is None or latency_s <= self.slow_s):
            state.bad_run = 0
        else:
            state.bad_run += 1
        if state.bad_run >= self.consecutive:
            self._eject(host, state, "consecutive")
        elif self._is_slow(state):
            self._eject(host, state, "slow")

    def _is_slow(self, state: _Host) -> bool:
        if self.slow_ratio is None or state.calls < self.slow_calls_min:
            return False
        others = [
            other.latency_s
            for other in self._hosts.values()
            if other is not state
            and other.ejected_until is None
            and other.calls >= self.slow_calls_min
        ]
        if not others:
            return False
        usual_s = median(others)
        return state.latency_s > max(self.slow_ratio * usual_s, usual_s + self.slow_gap_s)

    def _eject(self, name: str, host: _Host, reason: str) -> None:
        out = sum(other.ejected_until is not None for other in self._hosts.values())
        allowed = min(max(1, int(self.share_max * len(self._hosts))), len(self._hosts) - 1)
        if not self.enabled or out >= allowed:
            return
        now = self.clock.monotonic()
        forgiven = int((now - host.admitted_at) / self.interval_s)
        host.ejections = max(0, host.ejections - forgiven) + 1
        wait_s = min(self.base_s * host.ejections, self.base_s_max)
        host.ejected_until = now + wait_s
        self._tell(now, "ejection", name, reason, wait_s, host)

    def _readmit(self, name: str, host: _Host, now: float) -> None:
        host.ejected_until = None
        host.admitted_at = now
        host.bad_run = host.calls = 0
        host.latency_s = 0.0
        self._tell(now, "readmission", name, "wait_elapsed", 0.0, host)

    def _tell(
        self, now: float, kind: Kind, name: str, reason: str, wait_s: float, host: _Host
    ) -> None:
        if self.listener is not None:
            event = Event(
                now,
                self.edge,
                self.kind,
                kind,
                reason=reason,
                host=name,
                wait_s=wait_s,
                n=host.ejections,
                failures=host.bad_run,
            )
            emit(self.listener, event)

    def _live(self) -> dict[str, object]:
        now = self.clock.monotonic()
        return {
            "edge": self.edge,
            "hosts": {
                name: {
                    "ejected_s": round(max(0.0, (host.ejected_until or now) - now), 3),
                    "ejections": host.ejections,
                    "bad_run": host.bad_run,
                    "latency_s": round(host.latency_s, 6),
                }
                for name, host in self._hosts.items()
            },
        }
