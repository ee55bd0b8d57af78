"""The live resilience policies of the running lab: read from every instance, set where the edge is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.chaos.faults.client import FaultRefused
from lab.chaos.running_lab import Instance, RunningLab
from lab.http_client import NoReplyError, exchange
from lab.nearest import nearest
from lab.resilience_overrides import Rows, read, save

PROFILES = ("none", "timeouts", "retries", "breaker", "full")
PATH = "/_lab/resilience"


class UnknownPolicyError(Exception):
    """No such edge, policy or value; the text has the nearest one, or all."""


@dataclass(frozen=True)
class PolicyState:
    """One edge as one instance holds it: `view` is its part of `GET /_lab/resilience`."""

    instance: Instance
    edge: str
    view: Mapping[str, Any]

    def policy(self, kind: str) -> Mapping[str, Any] | None:
        """The live state of one policy; None where the edge has none of the kind."""
        beside = self.view.get(kind)
        if isinstance(beside, dict):
            return beside
        return next((each for each in self.view["policies"] if each["kind"] == kind), None)

    @property
    def ejected(self) -> list[str]:
        """The callee's instances that this one does not call just now, or only to probe them."""
        hosts: dict[str, Any] = (self.policy("outlier") or {}).get("hosts", {})
        return [name for name, host in hosts.items() if host["out"]]

    @property
    def switched_off(self) -> list[str]:
        """The policies whose own switch is off, whatever the profile."""
        views = [self.policy(kind) for kind in self.view["kinds"]]
        return [str(view["kind"]) for view in views if view and not view["enabled"]]


@dataclass(frozen=True)
class PolicyChange:
    """What is to be changed: a step of the ladder, single policies on or off, or both."""

    profile: str | None = None
    switches: Mapping[str, bool] | None = None

    def body(self, edge: str) -> dict[str, Any]:
        """For `PUT /_lab/resilience`."""
        wanted: dict[str, Any] = {"edge": edge}
        if self.profile is not None:
            wanted["profile"] = self.profile
        if self.switches:
            wanted["switches"] = dict(self.switches)
        return wanted


@dataclass(frozen=True)
class ChangeResult:
    """`changed`: (instance, edge) pairs. `failed`: why, by instance."""

    changed: list[tuple[str, str]]
    failed: dict[str, str]


class PolicyClient:
    """Talks to each instance's lab controls with the lab's token."""

    def __init__(self, lab: RunningLab) -> None:
        self._lab = lab

    def read(self, edge: str | None = None) -> tuple[list[PolicyState], dict[str, str]]:
        """(every edge of every instance, or this one of its caller's; why, by instance that is silent)."""
        held: list[PolicyState] = []
        silent: dict[str, str] = {}
        caller = None if edge is None else edge.partition("->")[0]
        for instance in self._lab.instances:
            # whoever comes in by an edge of the ingress holds it: the callee's instances then
            if caller not in (None, "ingress", instance.service):
                continue
            try:
                edges = self._ask("GET", instance)["edges"]
            except FaultRefused as refused:
                silent[instance.name] = str(refused)
                continue
            held += [PolicyState(instance, name, view) for name, view in sorted(edges.items())]
        return [each for each in held if edge in (None, each.edge)], silent

    def set(self, wish: PolicyChange, edge: str | None = None) -> ChangeResult:
        """Change it on every instance that has the edge (all edges if None), as far as it can be.

        Kept in the lab's file first, so that an instance that starts, now or later, has it too.
        Nothing is changed where the wish makes no sense. Raises UnknownPolicyError.
        """
        held, failed = self.read()
        chosen = _checked(held, wish, edge, silent=failed)
        save(Path(self._lab.state.home), edge, wish.profile, wish.switches or {})
        if edge is not None:
            caller = edge.partition("->")[0]
            failed = {
                name: why for name, why in failed.items() if name.rpartition("-")[0] == caller
            }
        changed: list[tuple[str, str]] = []
        for each in chosen:
            own = PolicyChange(wish.profile, _own(wish.switches, each.view["kinds"]))
            try:
                self._ask("PUT", each.instance, own.body(each.edge))
                changed.append((each.instance.name, each.edge))
            except FaultRefused as refused:
                failed[each.instance.name] = str(refused)
        return ChangeResult(changed, failed)

    def kept(self) -> Rows:
        """What was set in this lab, by edge or "*"; `lab.resilience_overrides.override_of` looks an edge up."""
        return read(Path(self._lab.state.home))

    def _ask(self, method: str, instance: Instance, body: Any = None) -> dict[str, Any]:
        """Raises FaultRefused."""
        if not instance.pid:
            raise FaultRefused(f"{instance.name} is not running")
        url = instance.url + PATH
        try:
            reply = exchange(method, url, body=body, token=self._lab.token, timeout_s=3)
        except NoReplyError as error:
            raise FaultRefused(f"{instance.name} does not answer: {error}") from None
        if reply.status >= 400 or not isinstance(reply.body, dict):
            detail = reply.body.get("detail") if isinstance(reply.body, dict) else reply.body
            raise FaultRefused(f"{instance.name} refused: {reply.status} {detail}")
        return reply.body


def _own(switches: Mapping[str, bool] | None, kinds: Iterable[str]) -> dict[str, bool]:
    """For all edges at once a switch counts where there is such a policy."""
    return {kind: on for kind, on in (switches or {}).items() if kind in kinds}


def _checked(
    held: list[PolicyState], wish: PolicyChange, edge: str | None, silent: Mapping[str, str]
) -> list[PolicyState]:
    if wish.profile is not None and wish.profile not in PROFILES:
        raise UnknownPolicyError(f"no profile {wish.profile!r}{nearest(wish.profile, PROFILES)}")
    edges = {each.edge for each in held}
    if edge is not None and edge not in edges:
        unheard = f" ({', '.join(silent)} could not be asked)" if silent else ""
        raise UnknownPolicyError(f"no edge {edge!r}{nearest(edge, edges)}{unheard}")
    chosen = [each for each in held if edge in (None, each.edge)]
    kinds = {kind for each in chosen for kind in each.view["kinds"]}
    for kind in wish.switches or ():
        if kind not in kinds:
            raise UnknownPolicyError(
                f"no policy {kind!r} at {edge or 'any edge'}{nearest(kind, kinds)}"
            )
    if not wish.switches:
        return chosen
    return [each for each in chosen if wish.profile or _own(wish.switches, each.view["kinds"])]
