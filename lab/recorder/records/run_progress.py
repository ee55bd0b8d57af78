"""A run's progress for Prometheus: its phase, faults and actions, and the load as the shoppers measure it.

Reads the files that a run writes, each from where the last call stopped.
"""

from __future__ import annotations

import json
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.prometheus_text import Exposition
from lab.recorder.intake.tail import TailedFile

# The buckets of the services' histograms, extended to a shopper's patience with all attempts.
BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0)


@dataclass
class ResponseTimes:
    """A histogram of seconds; the last of `counts` is for values above all of BUCKETS_S."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_S) + 1))
    sum_s: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS_S, seconds)] += 1
        self.sum_s += seconds


class RunProgress:
    """The progress of the run in `run_dir`; a file that does not exist yet adds no samples."""

    def __init__(self, run_dir: Path, clock: Callable[[], float] = time.time) -> None:
        self._run_dir = run_dir
        self._clock = clock
        self._followed: dict[str, TailedFile] = {}
        self._faults: dict[str, dict[str, Any]] = {}
        self._actions: dict[str, float] = {}
        self._requests: Counter[tuple[str, str]] = Counter()
        self._responses: dict[str, ResponseTimes] = {}

    def write_metrics(self, page: Exposition) -> None:
        """Reads new rows and writes all samples; call it from one thread at a time."""
        for row in self._new("faults"):
            _merge(self._faults.setdefault(str(row.get("fault_id")), {}), row)
        for event in self._new("chaos"):
            if event.get("type") == "action" and event.get("edge") == "begin":
                self._actions[str(event.get("name"))] = event["time_s"]
        for request in self._new("requests"):
            self._count(request)
        self._write_run(page)
        self._write_load(page)

    def close(self) -> None:
        for file in self._followed.values():
            file.close()

    def _new(self, name: str) -> Iterator[dict[str, Any]]:
        """Yields the rows added to `<name>.ndjson` since the last call, without damaged ones."""
        if name not in self._followed:
            try:
                path = self._run_dir / f"{name}.ndjson"
                self._followed[name] = TailedFile(path, from_end=False)
            except FileNotFoundError:
                return
        for line in self._followed[name].lines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict):
                yield row

    def _count(self, request: dict[str, Any]) -> None:
        route = str(request.get("route"))
        self._requests[route, str(request.get("outcome"))] += 1
        if (end_s := request.get("end_s")) is not None:
            waited_s = end_s - request["intended_start_s"]
            self._responses.setdefault(route, ResponseTimes()).add(waited_s)

    def _write_run(self, page: Exposition) -> None:
        run = _read(self._run_dir / "run.json")
        name = str(run.get("run_id", self._run_dir.name))
        page.family("breakwater_run_phase", "gauge", "1 for the current phase of the run")
        for phase in run.get("phases", [])[-1:]:
            if phase["end_s"] is None:
                experiment = str(run.get("experiment") or "")
                page.sample(1, run=name, experiment=experiment, phase=phase["name"])
        page.family("breakwater_fault_active", "gauge", "1 while a fault of the run is in effect")
        for fault_id, fault in self._faults.items():
            if _is_active(fault, self._clock()):
                kind, target = str(fault.get("kind", "")), str(fault.get("target", ""))
                page.sample(1, fault=fault_id, kind=kind, target=target)
        page.family("breakwater_action_time_seconds", "gauge", "Start of an action, Unix time")
        for action, begun_s in self._actions.items():
            page.sample(begun_s, run=name, action=action)

    def _write_load(self, page: Exposition) -> None:
        load = _read(self._run_dir / "load.json")
        page.family("load_arrivals_total", "counter", "Arrivals of shoppers, sent or dropped")
        for result in ("sent", "dropped"):
            if result in load:
                page.sample(load[result], result=result)
        page.family("load_requests_total", "counter", "Attempts of shoppers, by outcome")
        for (route, outcome), count in self._requests.items():
            page.sample(count, route=route, outcome=outcome)
        page.family(
            "load_response_seconds", "histogram", "Time from the intended start to the answer"
        )
        for route, responses in self._responses.items():
            page.histogram(BUCKETS_S, responses.counts, responses.sum_s, route=route)


def _merge(fault: dict[str, Any], part: dict[str, Any]) -> None:
    """As the archive merges the parts of a fault's row (docs/archive.md)."""
    earliest, latest = ("commanded_s", "effective_s"), ("removed_s",)
    for name, value in part.items():
        held = fault.get(name)
        if value is None or value == "":
            continue
        if held is None or (name in earliest and value < held) or (name in latest and value > held):
            fault[name] = value


def _is_active(fault: dict[str, Any], now_s: float) -> bool:
    """From its effect to its removal, or to the end of its TTL if no removal was recorded."""
    begun_s = fault.get("effective_s")
    if begun_s is None or fault.get("removed_s") is not None:
        return False
    ttl_s = fault.get("ttl_s")
    return ttl_s is None or now_s < float(fault.get("commanded_s", begun_s)) + float(ttl_s)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}  # the file does not exist yet
    return content if isinstance(content, dict) else {}
