"""Faults of whole processes: the client of the supervisor, which applies and removes them."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from chassis.fault_record import FaultRecord
from lab.chaos.faults.errors import FaultRefusedError, UnknownTargetError
from lab.runtimes.supervisor.client import ControlError, UsageError, call_supervisor
from lab.state import Lab

FIELDS = ("kind", "ttl_s", "attributes", "scope")


class ProcessFaultClient:
    """A lab without a supervisor (no control address in lab.json) has no such fault."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def add(self, target: str, spec: dict[str, Any]) -> list[FaultRecord]:
        """Returns when the fault is effective. Raises UnknownTargetError, FaultRefusedError."""
        if not self._has_supervisor:
            raise FaultRefusedError(
                f"this lab has no supervisor: {spec['kind']} is not possible here"
            )
        order = {name: spec[name] for name in FIELDS if name in spec}
        return self._records("POST", "/faults", order | {"target": target})

    def armed(self) -> list[FaultRecord]:
        return self._records("GET", "/faults") if self._has_supervisor else []

    def history(self) -> list[FaultRecord]:
        return self._records("GET", "/faults?history=1") if self._has_supervisor else []

    def clear(self, target: str | None = None) -> int:
        """Removes the faults now; returns their number."""
        if not self._has_supervisor:
            return 0
        path = "/faults" if target is None else f"/faults?target={quote(target)}"
        return int(self._call("DELETE", path)["removed"])

    @property
    def _has_supervisor(self) -> bool:
        return "control" in self._lab.addresses

    def _records(
        self, method: str, path: str, body: dict[str, Any] | None = None
    ) -> list[FaultRecord]:
        return [FaultRecord.from_row(item) for item in self._call(method, path, body)["items"]]

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        try:
            return call_supervisor(self._lab, method, path, body)
        except UsageError as error:
            unknown = "no instance or service" in str(error)
            raise (UnknownTargetError if unknown else FaultRefusedError)(str(error)) from None
        except ControlError as error:
            raise FaultRefusedError(str(error)) from None
