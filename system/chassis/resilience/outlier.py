"""Outlier ejection: excludes a bad instance from load balancing until its trial calls succeed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, ClassVar

from .checks import at_least, more_than, not_negative, positive, share
from .clock import SYSTEM_CLOCK, Clock
from .events import Kind, Listener
from .policy import Switchable

SMOOTHING = 0.1  # weight of the newest latency in a host's average
LAST = 10  # number of calls that `failing` evaluates


@dataclass(slots=True)
class _Host:
    """The state of one host. `era` increases at each ejection and probation: older outcomes do not count."""

    out: bool = False
    waits_until: float = 0.0  # from then on the next call starts the probation
    on_probation: bool = False
    trial_in_flight: bool = False
    era: int = 0
    calls: int = 0  # returned since the admission or the start of the probation
    latency_s: float = 0.0  # average of these calls: exponential, during probation arithmetic
    bad_run: int = 0
    last: int = 0  # the newest `LAST` calls, one bit each, 1 for a bad one
    overtaken_run: int = 0
    answered_run: int = 0
    ejections: int = 0
    admitted_at: float = 0.0


class OutlierEjection(Switchable):
    """Decides which hosts of an edge a load balancing client may use. It is not a Policy: it runs no call.

    A client calls `available`, starts each call with `admit` and ends it with exactly one of
    `record`, `overtaken`, `release`. A host is ejected

    consecutive  after that many bad calls in a row (failed, or longer than `slow_s`)
    failing      when that many of its last 10 calls were bad, and of no other host half as many: if
                 all hosts fail, there is no outlier, and fewer hosts would make it worse
    slow         when its average latency over at least `slow_calls_min` calls exceeds both
                 `slow_ratio` times the median of the others and that median plus `slow_gap_s`
    overtaken    when, `overtaken` times in a row, a hedge sent later to another host was answered
                 first, and no other host was overtaken in as many calls. An overtaken call is
                 cancelled, so its latency is not known

    The ejection lasts `base_s` times the number of recent ejections (one less per `interval_s` in
    use), at most `base_s_max`. Then the host is on probation: it gets one trial call at a time. After
    `probes` good ones it is readmitted. It is ejected again, for longer, after a trial call that
    failed or was overtaken, or as soon as their average is certain to be slow. A host that is still
    bad therefore costs one call per probation.

    At most a share `share_max` of the hosts is ejected; one may always be, the last one never.
    The model is Envoy's outlier detection, with its defaults. Envoy uses neither latencies nor
    hedges, compares failure percentages over an interval (there are too few hosts here for that),
    and readmits a host without trial calls.
    """

    kind: ClassVar[str] = "outlier"

    def __init__(  # noqa: PLR0913 - the settings of the policy, by name
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
        self.slow_ratio = None if slow_ratio is None else more_than("slow_ratio", slow_ratio, 1)
        self.slow_calls_min = at_least("slow_calls_min", slow_calls_min, 1)
        self.slow_gap_s = not_negative("slow_gap_s", slow_gap_s)
        self.overtaken_max = at_least("overtaken", overtaken, 1)
        self.probes = at_least("probes", probes, 1)
        self.clock = clock
        self.listener = listener
        self._hosts: dict[str, _Host] = {}

    def available(self, hosts: Sequence[str]) -> list[str]:
        """The hosts that may get the next call, in the given order; all of them if none may.

        `hosts` is the current membership. Hosts that are not in it are forgotten.
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
        """Start a call to `host`. Returns the era, to be passed back at the end of the call."""
        state = self._hosts.get(host)
        if state is None:
            return -1
        now = self.clock.monotonic()
        if state.out and self._usable(state, now):
            if not state.on_probation:
                self._renew(state)
                state.on_probation = True
                self._report_host("probation", host, state, reason="wait_elapsed")
            state.trial_in_flight = True
        return state.era

    def record(self, host: str, era: int, ok: bool, latency_s: float) -> None:
        """End a call that returned after `latency_s` seconds. This may eject or readmit the host."""
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
            self._judge_trial(host, state)
        elif state.bad_run >= self.consecutive:
            self._eject(host, state, "consecutive")
        elif self._is_failing(state):
            self._eject(host, state, "failing", state.last.bit_count())
        elif state.calls >= self.slow_calls_min and self._is_slow(state, state.latency_s):
            self._eject(host, state, "slow")

    def overtaken(self, host: str, era: int) -> None:
        """End a call that was cancelled because a later copy got its answer from another host."""
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
        """End a call whose outcome does not count."""
        self._ended(host, era)

    def _others(self, host: _Host) -> list[_Host]:
        """All other hosts that are not ejected."""
        return [other for other in self._hosts.values() if other is not host and not other.out]

    def _usable(self, host: _Host, now: float) -> bool:
        return not host.out or (now >= host.waits_until and not host.trial_in_flight)

    def _ended(self, name: str, era: int) -> _Host | None:
        """The host, if the outcome counts: it is still a member, and in the same era."""
        host = self._hosts.get(name)
        if host is None or host.era != era:
            return None
        if host.out and not host.trial_in_flight:  # switched off, or no other host was left
            return None
        host.trial_in_flight = False
        return host

    def _judge_trial(self, name: str, host: _Host) -> None:
        if host.bad_run:
            self._eject(name, host, "probe_failed")
        elif self._is_slow(host, host.latency_s * host.calls / self.probes):
            # the calls so far are enough to make the average of all trial calls slow
            self._eject(name, host, "probe_slow")
        elif host.calls >= self.probes:
            host.out = False
            host.admitted_at = self.clock.monotonic()
            self._renew(host)
            # hosts must be compared over the same time
            for other in self._others(host):
                other.calls, other.latency_s, other.last = 0, 0.0, 0
            self._report_host("readmission", name, host, reason="probes_passed")

    def _is_failing(self, host: _Host) -> bool:
        """Whether many of the last calls to the host were bad, and few of those to others."""
        return (
            self.failing is not None
            and host.last.bit_count() >= self.failing
            and all(2 * other.last.bit_count() < self.failing for other in self._others(host))
        )

    def _is_slow(self, host: _Host, latency_s: float) -> bool:
        """Whether a host with this average is slow compared with the others."""
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
        self._report_host("ejection", name, host, reason=reason, wait_s=wait_s, failures=failures)

    @staticmethod
    def _renew(host: _Host) -> None:
        """Start a new era with empty counts. Calls in flight do not count any more."""
        host.era += 1
        host.calls = host.bad_run = host.last = host.overtaken_run = host.answered_run = 0
        host.latency_s = 0.0
        host.on_probation = host.trial_in_flight = False

    def _report_host(self, kind: Kind, name: str, host: _Host, **details: Any) -> None:
        self._report(self.edge, kind, host=name, n=host.ejections, **details)

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
