"""Grafana's dashboards: what is built by dashboards/*.py, as the JSON that Grafana is provisioned with."""

from dashboards import BOARDS
from dashboards.board import text
from lab.topology import Topology

FOLDER = "dashboards/json"


def files(topology: Topology) -> dict[str, str]:
    """One file a dashboard. The services come from Prometheus' labels, not from `topology`."""
    return {f"{FOLDER}/{stem}.json": text(board()) for stem, board in BOARDS.items()}
