"""The supervisor's side of faults: those of whole processes, which it puts in force and undoes itself."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from lab.runtimes.supervisor.client import ControlError, UsageError, call_supervisor
from lab.state import Lab

FIELDS = ("kind", "ttl_s", "attributes", "scope")


class UnknownTarget(Exception):
    """No such service or instance in the running lab; the text lists those there are."""


class FaultRefused(Exception):
    """An instance did not take the order; the text has its reason."""


class Held:
    """Asks the supervisor of `lab`. A lab without one (no control address) holds no such fault."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def add(self, target: str, spec: dict[str, Any]) -> list[dict[str, Any]]:
        """In force on return. Raises UnknownTarget, FaultRefused."""
        if not self._there:
            raise FaultRefused(f"this lab has no supervisor: {spec['kind']} cannot be had")
        order = {name: spec[name] for name in FIELDS if name in spec}
        return self._items("POST", "/faults", order | {"target": target})

    def armed(self) -> list[dict[str, Any]]:
        return self._items("GET", "/faults") if self._there else []

    def history(self) -> list[dict[str, Any]]:
        return self._items("GET", "/faults?history=1") if self._there else []

    def clear(self, target: str | None = None) -> int:
        """Undone now; how many there were."""
        if not self._there:
            return 0
        path = "/faults" if target is None else f"/faults?target={quote(target)}"
        return int(self._ask("DELETE", path)["removed"])

    @property
    def _there(self) -> bool:
        return "control" in self._lab.addresses

    def _items(
        self, method: str, path: str, body: dict[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        return list(self._ask(method, path, body)["items"])

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        try:
            return call_supervisor(self._lab, method, path, body)
        except UsageError as error:
            unknown = "no instance or service" in str(error)
            raise (UnknownTarget if unknown else FaultRefused)(str(error)) from None
        except ControlError as error:
            raise FaultRefused(str(error)) from None
