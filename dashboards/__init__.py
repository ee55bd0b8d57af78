"""Grafana's dashboards as code, one module per dashboard. `lab render dashboards` writes json/."""

from collections.abc import Callable

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import breakers, consistency, load, nats, overview, postgres, resources, slo, valkey

# file name in json/ without suffix -> dashboard
BOARDS: dict[str, Callable[[], Dashboard]] = {
    "overview": overview.board,
    "slo": slo.board,
    "breakers": breakers.board,
    "consistency": consistency.board,
    "resources": resources.board,
    "load": load.board,
    "postgres": postgres.board,
    "valkey": valkey.board,
    "nats": nats.board,
}
