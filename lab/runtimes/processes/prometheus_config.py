"""Writes the configuration of a lab's Prometheus and Alertmanager, and the file of instances to scrape."""

import json
from collections.abc import Mapping
from pathlib import Path

from lab.files import write_private
from lab.render import prometheus
from lab.state import Lab
from lab.topology import PROJECT


class PrometheusConfig:
    """Files in `run/monitoring/` of the lab, readable by the owner only: they contain the lab's token."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._folder = Path(lab.home) / "run" / "monitoring"
        self._written: list[dict[str, object]] = []

    def write(self, name: str) -> Path:
        """Write the configuration file of `prometheus` or `alertmanager`: its path."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{name}.yml"
        write_private(path, self._prometheus() if name == "prometheus" else self._alertmanager())
        return path

    def follow(self, instances: Mapping[str, tuple[str, int, Mapping[str, str]]]) -> None:
        """Scrape these instances from now on; by name, each one's service, port and settings."""
        if "prometheus" not in self._lab.addresses:
            return
        targets: list[dict[str, object]] = [
            {
                "targets": [f"127.0.0.1:{port}"],
                "labels": prometheus.labels_of(service, name, settings),
            }
            for name, (service, port, settings) in instances.items()
        ]
        if targets != self._written:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_private(self._targets, json.dumps(targets, indent=1))
            self._written = targets

    @property
    def _targets(self) -> Path:
        return self._folder / "targets.json"

    def _prometheus(self) -> str:
        known = self._lab.addresses
        names = ("watch", "recorder", "prometheus", "alertmanager")
        hosts = {name: known.get(name, known["watch"]).rpartition("/")[2] for name in names}
        return prometheus.config(
            prometheus.Addresses(**hosts),
            credentials="" if "alertmanager" in known else self._lab.token,
            shop=prometheus.from_file(str(self._targets)),
            rules=str(PROJECT / prometheus.RULES),
        )

    def _alertmanager(self) -> str:
        return prometheus.alertmanager(
            self._lab.addresses["watch"], f"credentials: {self._lab.token}"
        )
