"""Outlier ejection: take one bad instance out of the balancing, probe it before it is trusted again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import ClassVar

from .checks import at_least, not_negative, positive, share
from .clock import SYSTEM_CLOCK, Clock
from .events import Event, Kind, Listener, emit
from .policy import Switchable

SMOOTHING = 0.1  # weight of the newest latency in a host's average
LAST = 10  # calls that `failing` looks at


@dataclass(slots=True)
class _Host:
    """`era` rises at each ejection and probation: an outcome counts only in the era of its start."""

    out: bool = False
    waits_until: float = 0.0  # after it, while out, the next call puts it on probation
    on_probation: bool = False
    probe_out: bool = False
    era: int = 0
    calls: int = 0  # answered, well or badly, since it was (re)admitted or put on probation
    latency_s: float = 0.0  # their average: exponential, on probation plain
    bad_run: int = 0
    last: int = 0  # its newest `LAST` calls, a bit each, 1 a bad one
    overtaken_run: int = 0
    answered_run: int = 0
    ejections: int = 0
    admitted_at: float = 0.0


class OutlierEjection(Switchable):
    """Which of an edge's hosts a balancing client may use. Not a Policy: it runs no call.

    A client asks `available`, begins each call with `admit` and ends it with exactly one of
    `record`, `overtaken`, `release`. A host leaves

    consecutive  after so many bad calls in a row (failed, or longer than `slow_s`)
    failing      when so many of its last 10 calls were bad, in whatever order, and of no other host
                 half as many: what all of them suffer is no outlier, and fewer hosts bear it worse
    slow         when its average latency over at least `slow_calls_min` calls exceeds both
                 `slow_ratio` times the median of the others and that median plus `slow_gap_s`
    overtaken    when a later copy of the same call, sent to another host, was answered first
                 (hedging) `overtaken` times in a row, while no other host has been overtaken in as
                 many calls: such a call was cut short, so that its latency is not known

    It stays out for `base_s` times its recent ejections (one is forgotten per `interval_s` spent
    inside), at most `base_s_max`. Then it is on probation: one call at a time, and it is back after
    `probes` good ones, out again, for longer, at the first that failed or was overtaken, and as
    soon as their average must come out slow. So a host that is still bad costs one call a return.

    At most a share `share_max` of the hosts is out, yet always one may be, and never the last.
    After Envoy's outlier detection, whose defaults these are; Envoy looks neither at latency nor at
    hedges, counts a failure percentage over an interval and beside the other hosts', of which there
    are too few here, and trusts a host at once. The probes are a breaker's, half open.
    """

    kind: ClassVar[str] = "outlier"

    def __init__(
        self,
        edge: str,
        *,
        consecutive: int = 5,
        failing: int | None = None,
        base_s: float = 30.0,
        base_s_max: float = 300.0,
        share_max: float = 0.1,
        interval_s: float = 10.0,
        slow_s: float | None = None,
        slow_ratio: float | None = None,
        slow_calls_min: int = 20,
        slow_gap_s: float = 0.01,
        overtaken: int = 4,
        probes: int = 3,
        clock: Clock = SYSTEM_CLOCK,
        listener: Listener | None = None,
    ) -> None:
        self.edge = edge
        self.consecutive = at_least("consecutive", consecutive, 1)
        self.failing = None if failing is None else at_least("failing", failing, 1)
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
        self.overtaken_max = at_least("overtaken", overtaken, 1)
        self.probes = at_least("probes", probes, 1)
        self.clock = clock
        self.listener = listener
        self._hosts: dict[str, _Host] = {}

    def available(self, hosts: Sequence[str]) -> list[str]:
        """Those of `hosts` that may have the next call, in their order; all of them if none would.

        `hosts` is the current membership: hosts no longer in it are forgotten.
        """
        now = self.clock.monotonic()
        for host in hosts:
            if host not in self._hosts:
                self._hosts[host] = _Host(admitted_at=now)
        if len(self._hosts) > len(hosts):
            self._hosts = {host: self._hosts[host] for host in hosts}
        if not self.enabled:
            return list(hosts)
        return [host for host in hosts if self._usable(self._hosts[host], now)] or list(hosts)

    def admit(self, host: str) -> int:
        """A call to `host` begins; returns the era to hand back at its end."""
        state = self._hosts.get(host)
        if state is None:
            return -1
        now = self.clock.monotonic()
        if state.out and self._usable(state, now):
            if not state.on_probation:
                self._renew(state)
                state.on_probation = True
                self._tell(now, "probation", host, "wait_elapsed", state)
            state.probe_out = True
        return state.era

    def record(self, host: str, era: int, ok: bool, latency_s: float) -> None:
        """The call ended by itself after `latency_s` seconds; may eject or readmit the host."""
        state = self._ended(host, era)
        if state is None:
            return
        state.calls += 1
        weight = 1 / state.calls if state.out else max(SMOOTHING, 1 / state.calls)
        state.latency_s += (latency_s - state.latency_s) * weight
        state.overtaken_run = 0
        state.answered_run += 1
        good = ok and (self.slow_s is None or latency_s <= self.slow_s)
        state.bad_run = 0 if good else state.bad_run + 1
        state.last = (state.last << 1 | (not good)) & (1 << LAST) - 1
        if state.out:
            self._judge_probe(host, state)
        elif state.bad_run >= self.consecutive:
            self._eject(host, state, "consecutive")
        elif self._is_failing(state):
            self._eject(host, state, "failing", state.last.bit_count())
        elif state.calls >= self.slow_calls_min and self._is_slow(state, state.latency_s):
            self._eject(host, state, "slow")

    def overtaken(self, host: str, era: int) -> None:
        """The call was cut short: a copy of it that began later got its answer elsewhere."""
        state = self._ended(host, era)
        if state is None:
            return
        state.answered_run = 0
        state.overtaken_run += 1
        if state.out:
            self._eject(host, state, "probe_overtaken")
        elif state.overtaken_run >= self.overtaken_max and all(
            other.answered_run >= self.overtaken_max for other in self._others(state)
        ):
            self._eject(host, state, "overtaken")

    def release(self, host: str, era: int) -> None:
        """The call ended in a way that says nothing of the host."""
        self._ended(host, era)

    def _others(self, host: _Host) -> list[_Host]:
        """All but this one that are not out."""
        return [other for other in self._hosts.values() if other is not host and not other.out]

    def _usable(self, host: _Host, now: float) -> bool:
        return not host.out or (now >= host.waits_until and not host.probe_out)

    def _ended(self, name: str, era: int) -> _Host | None:
        """The host, if the call's outcome counts: it is a member still, in the same era."""
        host = self._hosts.get(name)
        if host is None or host.era != era:
            return None
        if host.out and not host.probe_out:  # switched off, or nobody else was left
            return None
        host.probe_out = False
        return host

    def _judge_probe(self, name: str, host: _Host) -> None:
        if host.bad_run:
            self._eject(name, host, "probe_failed")
        elif self._is_slow(host, host.latency_s * host.calls / self.probes):
            # what the first ones took is enough to make the average of all of them slow
            self._eject(name, host, "probe_slow")
        elif host.calls >= self.probes:
            host.out = False
            now = host.admitted_at = self.clock.monotonic()
            self._renew(host)
            # hosts are compared over the same time, or not at all
            for other in self._others(host):
                other.calls, other.latency_s, other.last = 0, 0.0, 0
            self._tell(now, "readmission", name, "probes_passed", host)

    def _is_failing(self, host: _Host) -> bool:
        """Whether many of the host's last calls were bad, and few of the others'."""
        return (
            self.failing is not None
            and host.last.bit_count() >= self.failing
            and all(2 * other.last.bit_count() < self.failing for other in self._others(host))
        )

    def _is_slow(self, host: _Host, latency_s: float) -> bool:
        """Whether a host with this average is slow beside the others."""
        if self.slow_ratio is None:
            return False
        others = [
            other.latency_s for other in self._others(host) if other.calls >= self.slow_calls_min
        ]
        if not others:
            return False
        usual_s = median(others)
        return latency_s > max(self.slow_ratio * usual_s, usual_s + self.slow_gap_s)

    def _eject(self, name: str, host: _Host, reason: str, failures: int = 0) -> None:
        if not self.enabled:
            return
        now = self.clock.monotonic()
        if not host.out:
            out = sum(other.out for other in self._hosts.values())
            if out >= min(max(1, int(self.share_max * len(self._hosts))), len(self._hosts) - 1):
                return
            forgiven = int((now - host.admitted_at) / self.interval_s)
            host.ejections = max(0, host.ejections - forgiven)
        failures = failures or host.bad_run or host.overtaken_run
        host.ejections += 1
        host.out = True
        wait_s = min(self.base_s * host.ejections, self.base_s_max)
        host.waits_until = now + wait_s
        self._renew(host)
        self._tell(now, "ejection", name, reason, host, wait_s, failures)

    @staticmethod
    def _renew(host: _Host) -> None:
        """Begin an era: what was counted before is over, calls under way count no more."""
        host.era += 1
        host.calls = host.bad_run = host.last = host.overtaken_run = host.answered_run = 0
        host.latency_s = 0.0
        host.on_probation = host.probe_out = False

    def _tell(
        self,
        now: float,
        kind: Kind,
        name: str,
        reason: str,
        host: _Host,
        wait_s: float = 0.0,
        failures: int = 0,
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
                failures=failures,
            )
            emit(self.listener, event)

    def _live(self) -> dict[str, object]:
        now = self.clock.monotonic()
        return {
            "edge": self.edge,
            "hosts": {
                name: {
                    "out": host.out,
                    "ejected_s": round(max(0.0, host.waits_until - now), 3) if host.out else 0.0,
                    "ejections": host.ejections,
                    "bad_run": host.bad_run,
                    "latency_s": round(host.latency_s, 6),
                }
                for name, host in self._hosts.items()
            },
        }
