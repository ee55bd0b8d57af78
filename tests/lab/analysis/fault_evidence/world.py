"""Synthetic archives with noise and faults inside services, each on a service of its own."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from tests.lab.analysis.fault_evidence.noise import durations, outcomes

Row = dict[str, Any]
BEFORE_S, START_S, END_S, AFTER_S = 100.0, 115.0, 130.0, 145.0
TIMEOUT_S = 1.0  # of callers
COLUMNS: dict[str, tuple[str, ...]] = {
    "spans": (
        "trace_id", "span_id", "parent_span_id", "service", "instance", "name", "kind", "start_ns",
        "end_ns", "status", "http_route", "http_status", "peer", "attributes",
    ),
    "metrics": ("time_s", "service", "instance", "name", "labels", "value"),
    "logs": ("time_s", "instance", "message"),
    "faults": (
        "fault_id", "kind", "target", "point", "scope", "attributes", "ttl_s", "commanded_s",
        "effective_s", "removed_s", "hits",
    ),
}  # fmt: skip


NUMBERS = {
    **dict.fromkeys(("start_ns", "end_ns", "http_status", "hits"), "Int64"),
    **dict.fromkeys(
        ("time_s", "value", "ttl_s", "commanded_s", "effective_s", "removed_s"), "Float64"
    ),
}


@dataclass
class Op:
    """One exchange, which a fault may change."""

    start_s: float
    seconds: float
    status: int | None = 200
    failed: bool = False
    error: str = ""
    arrives: int = 1


@dataclass
class World:
    """The rows of one archive."""

    rows: dict[str, list[Row]] = field(
        default_factory=lambda: {"spans": [], "metrics": [], "logs": [], "faults": []}
    )
    states: dict[str, list[Row]] = field(default_factory=dict)

    def span(self, service: str, kind: str, name: str, op: Op, **more: Any) -> str:
        span_id = f"{len(self.rows['spans'])}"
        attributes = more.pop("attributes", {})
        if op.error:
            attributes = attributes | {"error.type": op.error}
        self.rows["spans"].append(
            {
                **{"trace_id": "t", "span_id": span_id, "service": service, "kind": kind},
                **{"instance": f"{service}-1", "name": name, "http_status": op.status},
                **{"start_ns": int(op.start_s * 1e9)},
                **{"end_ns": int((op.start_s + op.seconds) * 1e9)},
                **{"status": "error" if op.failed else "unset"},
                "attributes": json.dumps(attributes),
                **more,
            }
        )
        return span_id

    def gauge(self, service: str, name: str, at_s: float, value: float, **labels: str) -> None:
        row = {"time_s": at_s, "service": service, "instance": f"{service}-1", "name": name}
        self.rows["metrics"].append(row | {"labels": json.dumps(labels), "value": value})

    def write(self, path: Path) -> Path:
        path.mkdir(parents=True)
        (path / "state").mkdir()
        info = {
            **{"archive_version": 2, "run_id": "world", "started_s": BEFORE_S - 10},
            **{"ended_s": AFTER_S, "phases": [
                {"name": "before", "start_s": BEFORE_S, "end_s": START_S},
                {"name": "method", "start_s": START_S, "end_s": END_S},
            ]},
        }  # fmt: skip
        (path / "run.json").write_text(json.dumps(info))
        for name, rows in self.rows.items():
            frame = pd.DataFrame(rows, columns=list(COLUMNS[name]))
            frame = frame.astype({c: NUMBERS.get(c, "string") for c in frame.columns})
            with duckdb.connect() as connection:
                connection.from_df(frame).write_parquet(str(path / f"{name}.parquet"))
        for name, rows in self.states.items():
            with duckdb.connect() as connection:
                file = str(path / "state" / f"{name}.parquet")
                connection.from_df(pd.DataFrame(rows, columns=["event_id"])).write_parquet(file)
        return path


@dataclass
class Case:
    """A fault of one kind on one service of the world, with a working or an inert injector."""

    world: World
    rng: np.random.Generator
    service: str
    works: bool
    attributes: Row
    scope: Row

    def number(self, name: str, default: float = 0.0) -> float:
        return float(self.attributes.get(name, default))

    def exchanges(self, n: int, median_s: float, change: Callable[[Op], None]) -> list[Op]:
        """Noise before and during; while it is armed, a working fault changes what its scope selects."""
        starts = np.sort(self.rng.uniform(BEFORE_S, END_S, n))
        seconds = durations(self.rng, n, median_s, drift=0.2)
        bad = outcomes(self.rng, n, 0.01)
        ops = []
        hits = 0
        for start_s, lasts_s, fails in zip(starts, seconds, bad, strict=True):
            op = Op(float(start_s), float(lasts_s))
            if fails:
                op.failed, op.status, op.error = True, None, "CallFailed"
            armed = self.works and start_s >= START_S and hits < self.scope.get("first_n", math.inf)
            if armed and self.rng.random() < self.scope.get("share", 1.0):
                hits += 1
                change(op)
            ops.append(op)
        return ops

    def counter(self, name: str, a_second: float, more: float, **labels: str) -> None:
        """A counter that is scraped each second; it rises by `more` a second while the fault works."""
        value = 0.0
        for at_s in np.arange(BEFORE_S, AFTER_S, 1.0):
            value += a_second * float(self.rng.gamma(4.0, 0.25))
            value += more * (self.works and START_S <= at_s < END_S)
            self.world.gauge(self.service, name, float(at_s), value, **labels)

    def level(
        self, name: str, usual: float, during: float, spread: float = 0.05, service: str = "",
        delay_s: float = 0.0, **labels: str,
    ) -> None:  # fmt: skip
        """A gauge that is scraped each second, with another level while the fault works."""
        for at_s in np.arange(BEFORE_S, AFTER_S, 1.0):
            on = self.works and START_S + delay_s <= at_s < END_S
            value = (during if on else usual) + spread * float(self.rng.standard_t(3))
            self.world.gauge(service or self.service, name, float(at_s), value, **labels)
