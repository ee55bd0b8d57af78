"""What the archive shows of a fault's target, before the fault and while it was armed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from chassis.fault_record import FaultRecord
from chassis.faults.scope import COUNTED
from lab.analysis.fault_evidence.effect import Effect
from lab.analysis.fault_evidence.windows import DEFAULT_TTL_S
from lab.analysis.intervals import Values
from lab.analysis.windows import run_span
from lab.archive import Run

Measure = Callable[["Seen"], Effect]


@dataclass(frozen=True)
class Op:
    """One operation of a trace: a call, a use of a store, the handling of a message. Times in epoch seconds."""

    start_s: float
    end_s: float
    name: str
    failed: bool
    status: int | None
    error: str
    path: str
    span_id: str
    trace_id: str
    followers: int = 0  # spans of another process that have this one as their parent

    @property
    def seconds(self) -> float:
        return self.end_s - self.start_s


@dataclass(frozen=True)
class Ops:
    """The operations that the fault's scope matches, in time order."""

    witness: str
    before: list[Op]
    during: list[Op]


OP = """
    s.start_ns / 1e9, s.end_ns / 1e9, coalesce(s.name, ''),
    coalesce(s.status = 'error', false) OR coalesce(s.http_status, 0) >= 500, s.http_status,
    coalesce(json_extract_string(s.attributes, '$."error.type"'), ''),
    {path}, coalesce(s.span_id, ''), coalesce(s.trace_id, '')
"""


BY_SPAN = """
    GROUP BY s.start_ns, s.end_ns, s.name, s.status, s.http_status, s.attributes, s.http_route,
        s.span_id, s.trace_id
"""


@dataclass(frozen=True)
class Seen:
    """The archive around one fault. The fault is armed from `start_s` to `end_s`, by the record of its command."""

    run: Run
    fault: FaultRecord
    before_s: float
    start_s: float
    end_s: float

    @classmethod
    def of(cls, run: Run, fault: FaultRecord) -> Seen:
        start_s = fault.commanded_s if fault.commanded_s is not None else fault.effective_s or 0.0
        end_s = fault.removed_s or min(start_s + (fault.ttl_s or DEFAULT_TTL_S), run_span(run)[1])
        # before: since the end of the warm-up, else as long as the fault
        steady = run.phase("before")
        before_s = steady[0] if steady and steady[0] < start_s else 2 * start_s - end_s
        return cls(run, fault, before_s, start_s, max(start_s, end_s))

    @property
    def service(self) -> str:
        head, _, number = self.fault.target.rpartition("-")
        return head if head and number.isdigit() else self.fault.target

    @property
    def fraction(self) -> float:
        """The share of the matching exchanges that the scope selects."""
        share = float(self.fault.scope.get("share", 1.0))
        return share / float(self.fault.scope.get("every_k", 1))

    @property
    def partly(self) -> bool:
        """Whether the scope selects only a part of the matching exchanges."""
        return any(key in self.fault.scope for key in COUNTED)

    def attribute(self, name: str, default: float = 0.0) -> float:
        return float(self.fault.attributes.get(name, default))

    # -- spans ------------------------------------------------------------------------------

    def calls_in(self) -> Ops:
        """Calls of the target: its callers' spans, nginx's for a gateway."""
        caller = self.fault.scope.get("caller")
        if self.service == "gateway":
            # the span of nginx has no instance of its callee: the callee's span has it as its parent
            where = "s.service = 'nginx' AND s.kind = 'server' AND c.instance = ?"
            return self._ops("nginx", where, [self.fault.target], callee=True)
        where = (
            "s.kind = 'client' AND s.service != ?"
            """ AND json_extract_string(s.attributes, '$."breakwater.peer.instance"') = ?"""
        )
        values = [self.service, self.fault.target]
        if caller:
            where, values = f"{where} AND s.service = ?", [*values, str(caller)]
        return self._ops(str(caller or "its callers"), where, values, callee=True)

    def calls_out(self) -> Ops:
        """The target's own calls of other services."""
        where = """s.kind = 'client' AND s.instance = ?
            AND json_extract_string(s.attributes, '$."breakwater.peer.instance"') IS NOT NULL"""
        values = [self.fault.target]
        if callee := self.fault.scope.get("callee"):
            where, values = f"{where} AND s.peer = ?", [*values, str(callee)]
        return self._ops(f"the client of {self.fault.target}", where, values, callee=True)

    def uses(self, server: str, name: str = "") -> Ops:
        """The target's uses of a server: of the database a connection from request to return."""
        where, values = (
            "s.kind = 'client' AND s.instance = ? AND s.peer = ?",
            [self.fault.target, server],
        )
        if name:
            where, values = f"{where} AND s.name = ?", [*values, name]
        return self._ops(f"the {server} client of {self.fault.target}", where, values, scoped=False)

    def messages(self, kind: str) -> Ops:
        """Messages that the target published (`producer`) or handled (`consumer`)."""
        subject = str(self.fault.scope.get("route", "")).removeprefix("events.")
        return self._ops(
            f"the {kind} of {self.fault.target}",
            "s.kind = ? AND s.instance = ? AND starts_with(regexp_replace(s.name, '^[a-z]+ ', ''), ?)",
            [kind, self.fault.target, subject], scoped=False, followed=kind == "producer",
        )  # fmt: skip

    def internal(self, name: str) -> Ops:
        """The target's own pieces of work of this name."""
        return self._ops(
            f"the spans of {self.fault.target}", "s.instance = ? AND s.name = ?",
            [self.fault.target, name], scoped=False,
        )  # fmt: skip

    def _ops(
        self, witness: str, where: str, values: list[Any], *, scoped: bool = True,
        callee: bool = False, followed: bool = False,
    ) -> Ops:  # fmt: skip
        path = """coalesce(json_extract_string(s.attributes, '$."url.path"'), s.http_route, '')"""
        join = ""
        if callee or followed:
            kind = "server" if callee else "consumer"
            join = f"LEFT JOIN spans c ON c.parent_span_id = s.span_id AND c.kind = '{kind}'"
        if callee:  # the callee's span has the whole path, the caller's only the route
            path = f"""coalesce(any_value(json_extract_string(c.attributes, '$."url.path"')), {path})"""
        found = self.run.sql(
            f"SELECT {OP.format(path=path)}, {'count(c.span_id)' if join else 0} FROM spans s {join}"  # noqa: S608
            f" WHERE {where} AND s.start_ns BETWEEN ? AND ? {BY_SPAN if join else ''} ORDER BY 1",
            [*values, int(self.before_s * 1e9), int(self.end_s * 1e9)],
        ).fetchall()
        ops = [Op(*row) for row in found]
        ops = [op for op in ops if not scoped or self._matches(op)]
        return self._split(witness, ops)

    def deliveries(self) -> Ops:
        """The messages that the target was sent, each once, at its first delivery; followers: deliveries."""
        subject = str(self.fault.scope.get("route", "")).removeprefix("events.")
        found = self.run.sql(
            """SELECT min(start_ns) / 1e9, max(end_ns) / 1e9, any_value(name), false, NULL, '', '',
                    parent_span_id, any_value(trace_id), count(*)
                FROM spans WHERE kind = 'consumer' AND instance = ?
                    AND starts_with(regexp_replace(name, '^[a-z]+ ', ''), ?)
                GROUP BY parent_span_id HAVING min(start_ns) BETWEEN ? AND ? ORDER BY 1""",
            [self.fault.target, subject, int(self.before_s * 1e9), int(self.end_s * 1e9)],
        ).fetchall()
        return self._split(f"the deliveries to {self.fault.target}", [Op(*row) for row in found])

    def _split(self, witness: str, ops: list[Op]) -> Ops:
        during = [op for op in ops if op.start_s >= self.start_s]
        first = self.fault.scope.get("first_n")
        return Ops(
            witness, [op for op in ops if op.start_s < self.start_s],
            during if first is None else during[: int(first)],
        )  # fmt: skip

    def _matches(self, op: Op) -> bool:
        method = self.fault.scope.get("method")
        route = str(self.fault.scope.get("route", ""))
        return op.path.startswith(route) and (not method or op.name.split(" ")[0] == method)

    # -- scrapes ----------------------------------------------------------------------------

    def samples(
        self, name: str, *, instances: str | None = None, after_s: float = 0.0, **labels: str
    ) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
        """(time, value) before and during, of the target or of all others with a prefix; summed over series."""
        where = (
            "instance = ?" if instances is None else "starts_with(instance, ?) AND instance != ?"
        )
        values: list[Any] = (
            [self.fault.target] if instances is None else [instances, self.fault.target]
        )
        for label, value in labels.items():
            where += f" AND json_extract_string(labels, '$.{label}') = ?"
            values.append(value)
        found = self.run.sql(
            f"SELECT time_s, sum(value) FROM metrics WHERE name = ? AND {where}"  # noqa: S608
            " AND time_s BETWEEN ? AND ? GROUP BY time_s, instance ORDER BY time_s",
            [name, *values, self.before_s, self.end_s],
        ).fetchall()
        return (
            [row for row in found if row[0] < self.start_s],
            [row for row in found if row[0] >= self.start_s + after_s],
        )

    def rates(self, name: str) -> tuple[Values, Values]:
        """The increase of a counter a second between scrapes, before and during."""
        before, during = self.samples(name)
        return _increases(before), _increases(during)

    def consumers(self) -> list[str]:
        """The instances that handled messages of the target."""
        found = self.run.sql(
            """SELECT DISTINCT c.instance FROM spans c JOIN spans p ON c.parent_span_id = p.span_id
            WHERE c.kind = 'consumer' AND p.kind = 'producer' AND p.instance = ?""",
            [self.fault.target],
        ).fetchall()
        return [instance for (instance,) in found]

    def increase(
        self, name: str, instances: list[str], *, grace_s: float = 0.0, **labels: str
    ) -> tuple[int, int]:
        """The whole increase of a counter of some instances before and during."""
        where = "list_contains(?, instance)"
        values: list[Any] = [instances]
        for label, value in labels.items():
            where += f" AND json_extract_string(labels, '$.{label}') = ?"
            values.append(value)
        found = self.run.sql(
            f"""SELECT max(value) FILTER (time_s < ?) - min(value) FILTER (time_s < ?),
                    max(value) - coalesce(max(value) FILTER (time_s < ?), 0)
                FROM metrics WHERE name = ? AND {where} AND time_s BETWEEN ? AND ?
                GROUP BY instance, labels""",  # noqa: S608
            [self.start_s] * 3 + [name, *values, self.before_s, self.end_s + grace_s],
        ).fetchall()
        return round(sum(row[0] or 0 for row in found)), round(sum(row[1] or 0 for row in found))


def numbers(values: Iterable[float]) -> Values:
    return np.array(list(values), dtype=np.float64)


def milliseconds(ops: Iterable[Op]) -> Values:
    return numbers(1000.0 * op.seconds for op in ops)


def values_of(samples: Iterable[tuple[float, float]]) -> Values:
    return numbers(value for _, value in samples)


def _increases(samples: list[tuple[float, float]]) -> Values:
    rates = [(b - a) / (t - s) if t > s else math.nan for (s, a), (t, b) in pairwise(samples)]
    return numbers(rate for rate in rates if rate >= 0)  # a restart sets a counter back
