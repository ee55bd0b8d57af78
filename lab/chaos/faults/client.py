"""The lab's hand on the instances: arm, list and remove faults, read their metrics."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from lab.chaos.faults.edge_faults import EdgeFaults, checked, is_edge
from lab.chaos.faults.partitions import Partition
from lab.chaos.faults.process_faults import FaultRefused, Held, UnknownTarget
from lab.chaos.running_lab import Instance, RunningLab
from lab.fault_kinds.processes import KINDS
from lab.http_client import NoReplyError, Reply, exchange
from lab.nearest import did_you_mean
from lab.prometheus_text import total
from lab.runtimes.posix import pids

__all__ = ["FaultClient", "FaultRefused", "Placed", "UnknownTarget"]


@dataclass(frozen=True)
class Placed:
    """A fault as one instance holds it: the view of `GET /_lab/faults` and whose it is."""

    instance: Instance
    view: dict[str, Any]


class FaultClient:
    """Talks to every instance's lab controls (docs/architecture.md) with the lab's token."""

    def __init__(self, lab: RunningLab) -> None:
        self.lab = lab

    def targets(self, target: str | None = None) -> list[Instance]:
        """All instances, those of a service, or one by its name. Raises UnknownTarget."""
        instances = self.lab.instances
        if target is None:
            return instances
        found = [each for each in instances if target in (each.service, each.name)]
        if not found:
            known = (*instances, *self.lab.servers)
            names = sorted({each.service for each in instances} | {each.name for each in known})
            hint = did_you_mean(target, names)
            if target.endswith("-"):  # the shell took what came after it for a file
                hint = f" An edge goes in quotes: '{target}>...'."
            raise UnknownTarget(
                f"no service or instance {target!r} in the lab.{hint} There are: {', '.join(names)}"
            )
        return found

    def add_fault(self, target: str, spec: dict[str, Any]) -> list[Placed]:
        """Arm `spec` on every instance of the target; all of them or none. Raises FaultRefused.

        Each instance's fault has an id of its own, so that its hits are counted on their own. A fault
        of whole processes is the supervisor's (`process_faults`), and may hit a server too; one of an
        edge (`orders->payments`) is the fault proxy's (`edge_faults`).
        """
        if is_edge(target):
            return self._placed(self._edges.add(target, spec))
        if spec["kind"] in KINDS:
            return self._placed(self._held.add(target, spec))
        self._refuse_server(target, spec["kind"])
        placed: list[Placed] = []
        stem = uuid.uuid4().hex[:8]
        try:
            for instance in self.targets(target):
                fault = {**spec, "id": f"{spec['kind']}-{instance.name}-{stem}"}
                reply = self._ask("POST", instance, "/_lab/faults", fault)
                placed.append(Placed(instance, reply.body))
        except FaultRefused:
            for each in placed:
                self.remove(each)
            raise
        return placed

    def partition(self, partition: Partition, ttl_s: float) -> list[Placed]:
        """Cut every edge that it touches; all or none. Raises UnknownTarget, FaultRefused."""
        edges = self._edges.edges("*->*")
        partition.check(edges)
        cuts = partition.cuts(edges)
        if not cuts:
            raise FaultRefused("no edge leads from one group to another: nothing would be cut")
        return self._placed(self._edges.put(cuts, checked({"kind": "partition", "ttl_s": ttl_s})))

    def processes(self, target: str) -> list[Instance]:
        """As `targets`, servers and tools by their name too. Raises UnknownTarget."""
        found = [each for each in self.lab.servers if each.name == target]
        return found or self.targets(target)

    def remove(self, placed: Placed) -> None:
        """Disarm one fault; one that has already ended is fine. Raises FaultRefused."""
        if is_edge(placed.instance.name):
            self._edges.remove(placed.view)
            return
        path = f"/_lab/faults/{placed.view['id']}"
        self._ask("DELETE", placed.instance, path, also_good=(404,))

    def let_go(self, target: str) -> None:
        """Undo what the supervisor holds on it; the faults inside its services stay."""
        self._held.clear(target)

    def held(self, target: str) -> list[Placed]:
        """The faults that the supervisor holds on it."""
        return self._of(target, self._held.armed())

    def faults(self, target: str | None = None) -> list[Placed]:
        """The faults that are armed now. An instance that is down holds none."""
        if is_edge(target):
            return self._placed(self._edges.armed(target))
        edges = self._edges.armed() if target is None else []
        return (
            self._views("/_lab/faults", target)
            + self._of(target, self._held.armed())
            + self._placed(edges)
        )

    def history(self, target: str | None = None) -> list[Placed]:
        """Every fault since each instance's start, the removed ones too."""
        if is_edge(target):
            return self._placed(self._edges.history(target))
        edges = self._edges.history() if target is None else []
        return (
            self._views("/_lab/faults/history", target)
            + self._of(target, self._held.history())
            + self._placed(edges)
        )

    def clear(self, target: str | None = None) -> int:
        """Disarm everything; how many faults that were. Raises FaultRefused."""
        if is_edge(target):
            return self._edges.clear(target)
        on_edges = self._edges.clear() if target is None else 0
        armed = self._views("/_lab/faults", target)
        for instance in {placed.instance.name: placed.instance for placed in armed}.values():
            self._ask("DELETE", instance, "/_lab/faults")
        return on_edges + len(armed) + self._held.clear(target)

    @property
    def _edges(self) -> EdgeFaults:
        return EdgeFaults(self.lab.state)

    @property
    def _held(self) -> Held:
        return Held(self.lab.state)

    def _placed(self, views: list[dict[str, Any]]) -> list[Placed]:
        """Views of faults of processes, with the process each is on."""
        known = {each.name: each for each in (*self.lab.servers, *self.lab.instances)}
        return [
            Placed(known.get(view["target"], Instance(view["target"], "", "", 0, "")), view)
            for view in views
        ]

    def _of(self, target: str | None, views: list[dict[str, Any]]) -> list[Placed]:
        names = None if target is None else {each.name for each in self.processes(target)}
        return self._placed([each for each in views if names is None or each["target"] in names])

    def _refuse_server(self, target: str, kind: str) -> None:
        if target in {each.name for each in self.lab.servers}:
            raise FaultRefused(
                f"{kind} is a fault inside a service and {target} is none;"
                f" what it can have is {', '.join(KINDS)}"
            )

    def ready(self, instance: Instance) -> bool:
        try:
            return exchange("GET", f"{instance.url}/ready", timeout_s=2).status == 200
        except NoReplyError:
            return False

    def metric(self, instance: Instance, name: str, **labels: str) -> float | None:
        """The sum of a metric's samples that carry `labels`; None if there are none or it is down."""
        try:
            text = str(exchange("GET", f"{instance.url}/metrics", timeout_s=2).body)
        except NoReplyError:
            return None
        return total(text, name, **labels)

    def _views(self, path: str, target: str | None) -> list[Placed]:
        placed: list[Placed] = []
        if target in {each.name for each in self.lab.servers}:
            return placed
        for instance in self.targets(target):
            try:
                body = self._ask("GET", instance, path).body
            except FaultRefused:
                if not self.ready(instance):
                    continue
                # it has come up since; one that is alive and does not say must not read as "no faults"
                body = self._ask("GET", instance, path).body
            views = body["items"] if isinstance(body, dict) else body
            placed.extend(Placed(instance, view) for view in views)
        return placed

    def _ask(
        self,
        method: str,
        instance: Instance,
        path: str,
        body: Any = None,
        also_good: tuple[int, ...] = (),
    ) -> Reply:
        try:
            reply = exchange(method, instance.url + path, body=body, token=self.lab.token)
        except NoReplyError as error:
            supervised = "control" in self.lab.state.addresses
            if supervised and not pids.same(instance.pid, instance.identity):
                raise FaultRefused(
                    f"{instance.name} is not running; `lab status` says more"
                ) from None
            raise FaultRefused(f"{instance.name} does not answer: {error}") from None
        if reply.status >= 400 and reply.status not in also_good:
            detail = reply.body.get("detail") if isinstance(reply.body, dict) else reply.body
            raise FaultRefused(f"{instance.name} refused {method} {path}: {reply.status} {detail}")
        return reply
