"""The running lab for experiments: found through its lab.json, which is read each time."""

from __future__ import annotations

from dataclasses import dataclass

from lab.state import Lab, NoLabError, StateError, chosen_port_base, home_of

__all__ = ["Instance", "NoLabError", "RunningLab", "StateError", "find_lab"]

NO_TARGETS = ("supervisor", "zygote")  # they apply the faults of processes


@dataclass(frozen=True)
class Instance:
    """One running copy of a service. `identity` distinguishes its process from a later one with the same pid."""

    name: str
    service: str
    url: str
    pid: int
    identity: str


@dataclass(frozen=True)
class RunningLab:
    """A lab at the moment its file was read. Later, instances may start, end and change their pids."""

    state: Lab

    @property
    def port_base(self) -> int:
        return self.state.port_base

    @property
    def token(self) -> str:
        return self.state.token

    @property
    def ingress_url(self) -> str:
        return self.state.addresses["ingress"]

    @property
    def servers(self) -> list[Instance]:
        """The servers that the shop needs, and the lab's own tools: processes without lab controls."""
        return [
            Instance(each.name, "", each.address, each.pid, each.identity)
            for each in self.state.servers
            if each.name not in NO_TARGETS
        ]

    @property
    def instances(self) -> list[Instance]:
        return [
            Instance(each.name, each.service, each.address, each.pid, each.identity)
            for each in self.state.instances
        ]


def find_lab(port_base: int | None = None) -> RunningLab:
    """The lab of `port_base`, else of LAB_PORT_BASE, else the newest. Raises NoLabError, StateError."""
    return RunningLab(Lab.load(home_of(chosen_port_base(port_base))))
