"""The HTTP API of the watch: the stores' metrics, the firing alerts, and new alerts."""

from __future__ import annotations

import json

from lab.httpd import HttpError, Request, Response, json_response
from lab.prometheus_text import CONTENT_TYPE
from lab.watch.alerts import Alerts
from lab.watch.stores import Stores

# the path of Alertmanager's webhook, and the path that Prometheus uses without an Alertmanager
INTAKES = ("/alerts", "/api/v2/alerts")


class Page:
    """New alerts require the lab's token, because they become rows of a run's archive."""

    def __init__(self, stores: Stores, token: str) -> None:
        self._stores = stores
        self._token = token
        self._alerts = Alerts()

    async def answer(self, request: Request) -> Response:
        match request.method, request.path:
            case "GET", "/health":
                return json_response({"status": "ok"})
            case "GET", "/metrics":
                return Response((await self._stores.metrics()).encode(), CONTENT_TYPE)
            case "GET", "/alerts":
                return json_response({"firing": self._alerts.firing})
            case "POST", path if path in INTAKES:
                request.authorize(self._token)
                try:
                    message = json.loads(request.body)
                except ValueError as error:
                    raise HttpError(400, f"the body is not JSON: {error}") from None
                return json_response({"news": self._alerts.take(message)})
        raise HttpError(404, "expected GET /metrics, /alerts or /health, or POST /alerts")
