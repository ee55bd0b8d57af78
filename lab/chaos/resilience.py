"""Reads and changes the resilience policies of the running lab, on every instance that has the edge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chassis.resilience.profile import PROFILES
from lab.chaos.faults.errors import FaultRefusedError
from lab.chaos.running_lab import Instance, RunningLab
from lab.http_client import NoReplyError, exchange
from lab.nearest import nearest
from lab.resilience_overrides import Rows, read, save

PATH = "/_lab/resilience"


class UnknownPolicyError(Exception):
    """There is no such edge, policy or value; the text has the nearest name, or all names."""


@dataclass(frozen=True)
class PolicyState:
    """The policies of one edge at one instance; `view` is the edge's part of `GET /_lab/resilience`."""

    instance: Instance
    edge: str
    view: Mapping[str, Any]

    def policy(self, kind: str) -> Mapping[str, Any] | None:
        """The live state of one policy; None if the edge has no policy of this kind."""
        view = self.view.get(kind)
        if isinstance(view, dict):
            return view
        return next((each for each in self.view["policies"] if each["kind"] == kind), None)

    @property
    def ejected(self) -> list[str]:
        """The callee's instances that this instance has ejected."""
        hosts: dict[str, Any] = (self.policy("outlier") or {}).get("hosts", {})
        return [name for name, host in hosts.items() if host["out"]]

    @property
    def switched_off(self) -> list[str]:
        """The policies whose own switch is off, independent of the profile."""
        views = [self.policy(kind) for kind in self.view["kinds"]]
        return [str(view["kind"]) for view in views if view and not view["enabled"]]


@dataclass(frozen=True)
class PolicyChange:
    """A new profile, single policies on or off, or both."""

    profile: str | None = None
    switches: Mapping[str, bool] | None = None

    def body(self, edge: str, kinds: Iterable[str]) -> dict[str, Any]:
        """The body of `PUT /_lab/resilience`, with the switches of the edge's own `kinds`."""
        body: dict[str, Any] = {"edge": edge}
        if self.profile is not None:
            body["profile"] = self.profile
        if switches := self.switches_of(kinds):
            body["switches"] = switches
        return body

    def switches_of(self, kinds: Iterable[str]) -> dict[str, bool]:
        return {kind: on for kind, on in (self.switches or {}).items() if kind in kinds}


@dataclass(frozen=True)
class ChangeResult:
    """`changed`: (instance, edge) pairs. `failed`: the reason by instance."""

    changed: list[tuple[str, str]]
    failed: dict[str, str]


class PolicyClient:
    """Calls the lab controls of each instance."""

    def __init__(self, lab: RunningLab) -> None:
        self._lab = lab

    def read(self, edge: str | None = None) -> tuple[list[PolicyState], dict[str, str]]:
        """(the states of all edges or of one, the reason by instance that did not answer)."""
        states: list[PolicyState] = []
        failed: dict[str, str] = {}
        caller = None if edge is None else edge.partition("->")[0]
        for instance in self._lab.instances:
            # an edge of the ingress has its policies at the callee's instances
            if caller not in (None, "ingress", instance.service):
                continue
            try:
                edges = self._call("GET", instance)["edges"]
            except FaultRefusedError as refused:
                failed[instance.name] = str(refused)
                continue
            states += [PolicyState(instance, name, view) for name, view in sorted(edges.items())]
        return [state for state in states if edge in (None, state.edge)], failed

    def set(self, change: PolicyChange, edge: str | None = None) -> ChangeResult:
        """Changes every instance that has the edge (None: all edges), and saves it for later starts.

        An impossible change changes nothing and raises UnknownPolicyError.
        """
        states, failed = self.read()
        chosen = _checked(states, change, edge, failed)
        save(Path(self._lab.state.home), edge, change.profile, change.switches or {})
        if edge is not None:
            caller = edge.partition("->")[0]
            failed = {
                name: reason for name, reason in failed.items() if name.rpartition("-")[0] == caller
            }
        changed: list[tuple[str, str]] = []
        for state in chosen:
            body = change.body(state.edge, state.view["kinds"])
            try:
                self._call("PUT", state.instance, body)
                changed.append((state.instance.name, state.edge))
            except FaultRefusedError as refused:
                failed[state.instance.name] = str(refused)
        return ChangeResult(changed, failed)

    def overrides(self) -> Rows:
        """The changes in this lab by edge or "*"; `lab.resilience_overrides.override_of` reads an edge's."""
        return read(Path(self._lab.state.home))

    def _call(self, method: str, instance: Instance, body: Any = None) -> dict[str, Any]:
        """Raises FaultRefusedError."""
        if not instance.pid:
            raise FaultRefusedError(f"{instance.name} is not running")
        url = instance.url + PATH
        try:
            reply = exchange(method, url, body=body, token=self._lab.token, timeout_s=3)
        except NoReplyError as error:
            raise FaultRefusedError(f"{instance.name} does not answer: {error}") from None
        if reply.status >= 400 or not isinstance(reply.body, dict):
            detail = reply.body.get("detail") if isinstance(reply.body, dict) else reply.body
            raise FaultRefusedError(f"{instance.name} refused: {reply.status} {detail}")
        return reply.body


def _checked(
    states: list[PolicyState], change: PolicyChange, edge: str | None, failed: Mapping[str, str]
) -> list[PolicyState]:
    """The states to change. Raises UnknownPolicyError."""
    if change.profile is not None and change.profile not in PROFILES:
        raise UnknownPolicyError(
            f"no profile {change.profile!r}{nearest(change.profile, PROFILES)}"
        )
    edges = {state.edge for state in states}
    if edge is not None and edge not in edges:
        missing = f" (no answer from {', '.join(failed)})" if failed else ""
        raise UnknownPolicyError(f"no edge {edge!r}{nearest(edge, edges)}{missing}")
    chosen = [state for state in states if edge in (None, state.edge)]
    kinds = {kind for state in chosen for kind in state.view["kinds"]}
    for kind in change.switches or ():
        if kind not in kinds:
            where = edge or "any edge"
            raise UnknownPolicyError(f"no policy {kind!r} at {where}{nearest(kind, kinds)}")
    if change.profile or not change.switches:
        return chosen
    return [state for state in chosen if change.switches_of(state.view["kinds"])]
