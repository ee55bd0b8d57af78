"""The client for all faults of a running lab: arm, list and remove them, wherever they are applied."""

from __future__ import annotations

import uuid
from typing import Any

from chassis.fault_record import FaultRecord
from lab.chaos.faults.edge_faults import EdgeFaultClient
from lab.chaos.faults.edge_specs import edge_fault_spec, is_edge
from lab.chaos.faults.errors import FaultRefusedError, UnknownTargetError
from lab.chaos.faults.partitions import Partition
from lab.chaos.faults.process_faults import ProcessFaultClient
from lab.chaos.running_lab import Instance, RunningLab
from lab.fault_kinds.processes import KINDS
from lab.http_client import NoReplyError, Reply, exchange
from lab.nearest import did_you_mean
from lab.prometheus_text import total
from lab.runtimes.posix import pids


class FaultClient:
    """Faults in services are commanded at each instance, those of processes at the supervisor, those of edges at
    the fault proxy.
    """

    def __init__(self, lab: RunningLab) -> None:
        self.lab = lab
        self._edges = EdgeFaultClient(lab.state)
        self._processes = ProcessFaultClient(lab.state)

    def targets(self, target: str | None = None) -> list[Instance]:
        """All instances, those of a service, or one by its name. Raises UnknownTargetError."""
        instances = self.lab.instances
        if target is None:
            return instances
        found = [each for each in instances if target in (each.service, each.name)]
        if not found:
            known = (*instances, *self.lab.servers)
            names = sorted({each.service for each in instances} | {each.name for each in known})
            hint = did_you_mean(target, names)
            if target.endswith("-"):  # the shell read `>` as a redirection
                hint = f" An edge goes in quotes: '{target}>...'."
            raise UnknownTargetError(
                f"no service or instance {target!r} in the lab.{hint} There are: {', '.join(names)}"
            )
        return found

    def processes(self, target: str) -> list[Instance]:
        """As `targets`, and servers and tools by their name. Raises UnknownTargetError."""
        found = [each for each in self.lab.servers if each.name == target]
        return found or self.targets(target)

    def add_fault(self, target: str, spec: dict[str, Any]) -> list[FaultRecord]:
        """Arms `spec` on every instance, process or edge of the target, or on none.

        Each has a fault id and a hit counter of its own. Raises UnknownTargetError, FaultRefusedError.
        """
        if is_edge(target):
            return self._edges.add(target, spec)
        if spec["kind"] in KINDS:
            return self._processes.add(target, spec)
        self._refuse_server(target, spec["kind"])
        added: list[FaultRecord] = []
        stem = uuid.uuid4().hex[:8]
        try:
            for instance in self.targets(target):
                fault = {**spec, "fault_id": f"{spec['kind']}-{instance.name}-{stem}"}
                reply = self._call("POST", instance, "/_lab/faults", fault)
                added.append(_record(instance, reply.body))
        except FaultRefusedError:
            for record in added:
                self.remove(record)
            raise
        return added

    def partition(self, partition: Partition, ttl_s: float) -> list[FaultRecord]:
        """Cuts every edge between its groups, or none. Raises UnknownTargetError, FaultRefusedError."""
        edges = self._edges.edges("*->*")
        partition.check(edges)
        cuts = partition.cuts(edges)
        if not cuts:
            raise FaultRefusedError("no edge leads from one group to another: nothing would be cut")
        return self._edges.put(cuts, edge_fault_spec({"kind": "partition", "ttl_s": ttl_s}))

    def remove(self, record: FaultRecord) -> None:
        """Removes a fault of an edge or a service; does nothing if it has ended. Raises FaultRefusedError."""
        if is_edge(record.target):
            self._edges.remove(record.target, record.fault_id)
            return
        (instance,) = self.targets(record.target)
        self._call("DELETE", instance, f"/_lab/faults/{record.fault_id}", accepted=(404,))

    def clear_process(self, target: str) -> None:
        """Removes the faults of the target's processes; the faults inside its services stay."""
        self._processes.clear(target)

    def process_faults(self, target: str) -> list[FaultRecord]:
        """The armed faults of the target's processes."""
        return self._of(target, self._processes.armed())

    def faults(self, target: str | None = None) -> list[FaultRecord]:
        """The armed faults. An instance that is down has none."""
        if is_edge(target):
            return self._edges.armed(target)
        return (
            self._in_services("/_lab/faults", target)
            + self._of(target, self._processes.armed())
            + (self._edges.armed() if target is None else [])
        )

    def history(self, target: str | None = None) -> list[FaultRecord]:
        """Every fault since each instance's start, with the removed ones."""
        if is_edge(target):
            return self._edges.history(target)
        return (
            self._in_services("/_lab/faults/history", target)
            + self._of(target, self._processes.history())
            + (self._edges.history() if target is None else [])
        )

    def clear(self, target: str | None = None) -> int:
        """Removes every fault; returns their number. Raises FaultRefusedError."""
        if is_edge(target):
            return self._edges.clear(target)
        on_edges = self._edges.clear() if target is None else 0
        armed = self._in_services("/_lab/faults", target)
        affected = {record.target for record in armed}
        for instance in self.lab.instances:
            if instance.name in affected:
                self._call("DELETE", instance, "/_lab/faults")
        return on_edges + len(armed) + self._processes.clear(target)

    def ready(self, instance: Instance) -> bool:
        try:
            return exchange("GET", f"{instance.url}/ready", timeout_s=2).status == 200
        except NoReplyError:
            return False

    def metric(self, instance: Instance, name: str, **labels: str) -> float | None:
        """The sum of a metric's samples with these `labels`; None without samples or if it is down."""
        try:
            text = str(exchange("GET", f"{instance.url}/metrics", timeout_s=2).body)
        except NoReplyError:
            return None
        return total(text, name, **labels)

    def _of(self, target: str | None, records: list[FaultRecord]) -> list[FaultRecord]:
        if target is None:
            return records
        names = {each.name for each in self.processes(target)}
        return [each for each in records if each.target in names]

    def _refuse_server(self, target: str, kind: str) -> None:
        if target in {each.name for each in self.lab.servers}:
            raise FaultRefusedError(
                f"{kind} is a fault inside a service and {target} is none;"
                f" a server can have {', '.join(KINDS)}"
            )

    def _in_services(self, path: str, target: str | None) -> list[FaultRecord]:
        if target in {each.name for each in self.lab.servers}:
            return []
        return [
            _record(instance, item)
            for instance in self.targets(target)
            for item in self._items(instance, path)
        ]

    def _items(self, instance: Instance, path: str) -> list[dict[str, Any]]:
        try:
            return list(self._call("GET", instance, path).body["items"])
        except FaultRefusedError:
            if not self.ready(instance):
                return []
            # it has started since; a live instance without an answer must not read as "no faults"
            return list(self._call("GET", instance, path).body["items"])

    def _call(
        self,
        method: str,
        instance: Instance,
        path: str,
        body: Any = None,
        accepted: tuple[int, ...] = (),
    ) -> Reply:
        try:
            reply = exchange(method, instance.url + path, body=body, token=self.lab.token)
        except NoReplyError as error:
            supervised = "control" in self.lab.state.addresses
            if supervised and not pids.same(instance.pid, instance.identity):
                raise FaultRefusedError(
                    f"{instance.name} is not running; see `lab status`"
                ) from None
            raise FaultRefusedError(f"{instance.name} does not answer: {error}") from None
        if reply.status >= 400 and reply.status not in accepted:
            detail = reply.body.get("detail") if isinstance(reply.body, dict) else reply.body
            raise FaultRefusedError(
                f"{instance.name} refused {method} {path}: {reply.status} {detail}"
            )
        return reply


def _record(instance: Instance, item: dict[str, Any]) -> FaultRecord:
    return FaultRecord.from_row({**item, "target": instance.name})
