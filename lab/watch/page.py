"""What the watch answers: the stores' metrics, what is firing, and the intake of alerts."""

from __future__ import annotations

import json

from lab.httpd import HttpError, Request, Response, json_response
from lab.prometheus_text import CONTENT_TYPE
from lab.watch.alerts import Alerts
from lab.watch.stores import Stores

# where Alertmanager's webhook is sent, and where Prometheus sends if there is no Alertmanager
INTAKES = ("/alerts", "/api/v2/alerts")


class Page:
    """Alerts are taken only with the lab's token: they become rows of a run's archive."""

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
                    told = json.loads(request.body)
                except ValueError as error:
                    raise HttpError(400, f"the body is no JSON: {error}") from None
                return json_response({"news": self._alerts.take(told)})
        raise HttpError(404, "expected GET /metrics, /alerts or /health, or POST /alerts")
