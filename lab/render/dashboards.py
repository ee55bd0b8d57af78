"""Renders Grafana's dashboards from dashboards/*.py, as the JSON of Grafana's provisioning."""

from dashboards import BOARDS
from dashboards.board import text
from lab.topology import Topology

FOLDER = "dashboards/json"


def files(topology: Topology) -> dict[str, str]:
    """One file per dashboard. The services come from Prometheus' labels, not from `topology`."""
    return {f"{FOLDER}/{stem}.json": text(board()) for stem, board in BOARDS.items()}
