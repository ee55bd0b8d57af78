"""Logs each change of an alert as one line, so that a run's archive contains it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from lab.httpd import HttpError

LEVELS = {"page": "error", "ticket": "warning"}  # by severity
FIRING_MAX = 1000


class Alerts:
    """The firing alerts. Prometheus repeats an alert while it lasts; only changes are logged."""

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._firing: dict[str, dict[str, Any]] = {}

    @property
    def firing(self) -> list[dict[str, Any]]:
        """Labels, annotations and start of each firing alert, oldest first."""
        return list(self._firing.values())

    def take(self, message: Any) -> int:
        """Takes Alertmanager's webhook message or Prometheus' list of alerts; returns the number of changes.

        Raises HttpError 400.
        """
        alerts = message.get("alerts") if isinstance(message, dict) else message
        if not isinstance(alerts, list) or not all(map(_is_alert, alerts)):
            raise HttpError(400, "expected alerts as Prometheus or Alertmanager send them")
        return sum(self._take(alert) for alert in alerts)

    def _take(self, alert: Mapping[str, Any]) -> bool:
        key = json.dumps(alert["labels"], sort_keys=True)
        resolved = self._is_resolved(alert)
        if resolved != (key in self._firing):
            return False
        if resolved:
            del self._firing[key]
        elif len(self._firing) < FIRING_MAX:
            kept = ("labels", "annotations", "startsAt")
            self._firing[key] = {name: alert.get(name, {}) for name in kept}
        print(json.dumps(self._line(alert, "resolved" if resolved else "firing")), flush=True)
        return True

    def _is_resolved(self, alert: Mapping[str, Any]) -> bool:
        if "status" in alert:
            return bool(alert["status"] == "resolved")
        try:
            ends = datetime.fromisoformat(str(alert.get("endsAt") or "9999-01-01T00:00:00Z"))
            return ends <= self._now()
        except (ValueError, TypeError):
            raise HttpError(400, f"endsAt {alert['endsAt']!r} is not a time") from None

    def _line(self, alert: Mapping[str, Any], state: str) -> dict[str, Any]:
        labels = {**alert["labels"]}
        name = labels.pop("alertname")
        summary = (alert.get("annotations") or {}).get("summary", "")
        level = LEVELS.get(labels.get("severity", ""), "info") if state == "firing" else "info"
        return {
            "time": self._now().timestamp(), "level": level, "service": "lab", "instance": "watch",
            "message": f"{name} {state}: {summary}", "event": "alert", "alert": name, "state": state,
            "since": alert.get("startsAt", ""), "labels": labels,
        }  # fmt: skip


def _is_alert(alert: Any) -> bool:
    if not isinstance(alert, dict) or not isinstance(alert.get("labels"), dict):
        return False
    return isinstance(alert["labels"].get("alertname"), str)
