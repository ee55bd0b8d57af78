"""Rate, errors and duration from scraped samples: restarts, late series, and a known histogram."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from lab.analysis import red
from lab.archive import Run

COUNT, BUCKET = f"{red.SERVER}_count", f"{red.SERVER}_bucket"


def run_with(path: Path, samples: list[tuple[float, str, str, dict[str, str], float]]) -> Run:
    """A run of `orders`: (time_s, instance, name, labels, value)."""
    columns = ("time_s", "instance", "name", "labels", "value")
    rows: list[dict[str, Any]] = [
        dict(zip(columns, sample, strict=True)) | {"service": "orders"} for sample in samples
    ]
    (path / "metrics.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Run(path)


def labels(status: str = "200", **more: str) -> dict[str, str]:
    return {"http_route": "/orders", "http_response_status_code": status} | more


def test_growth_is_counted_across_a_restart_and_from_zero_for_a_late_series(tmp_path: Path) -> None:
    run = run_with(
        tmp_path,
        [
            *((time_s, "orders-1", "up", {}, 1) for time_s in (1.0, 2.0, 3.0, 4.0)),
            (1.0, "orders-1", COUNT, labels(), 100),  # from before: no growth
            (2.0, "orders-1", COUNT, labels(), 103),
            (3.0, "orders-1", COUNT, labels(), 2),  # restarted
            (3.0, "orders-1", COUNT, labels("503"), 4),  # its first ones
            (4.0, "orders-1", COUNT, labels("503"), 5),
        ],
    )
    [row] = red.by_route(run).to_dict("records")
    assert (row["requests"], row["errors"]) == (3 + 2 + 5, 5)
    steps = red.over_time(run, "orders", step_s=2.0)
    assert steps["time_s"].tolist() == [1.0, 3.0, 5.0]
    assert steps["requests_per_s"].tolist() == [0.0, 4.5, 0.5]
    assert steps["errors_per_s"].tolist() == [0.0, 2.0, 0.5]


def test_growth_over_a_gap_between_scrapes_is_counted_but_belongs_to_no_step(
    tmp_path: Path,
) -> None:
    run = run_with(
        tmp_path,
        [
            (0.5, "orders-1", "up", {}, 0),  # a failed scrape does not count
            *((time_s, "orders-1", "up", {}, 1) for time_s in (1.0, 2.5, 20.5)),
            (10.0, "orders-1", "up", {}, 0),
            (1.0, "orders-1", COUNT, labels(), 100),
            (2.5, "orders-1", COUNT, labels(), 104),
            (20.5, "orders-1", COUNT, labels(), 504),
            (20.5, "orders-1", COUNT, labels("503"), 50),
        ],
    )
    assert red.by_route(run)["requests"].tolist() == [4 + 400 + 50]
    steps = red.over_time(run, "orders", step_s=2.0)
    assert steps["time_s"].tolist() == [1.0, 3.0]
    assert steps["requests_per_s"].tolist() == [0.0, 2.0]


def test_a_quantile_is_in_the_bucket_of_the_known_requests(tmp_path: Path) -> None:
    cumulative = {"0.1": 50, "0.2": 90, "0.4": 100, "+Inf": 100}
    first: list[tuple[float, str, str, dict[str, str], float]] = [(1.0, "orders-1", "up", {}, 1.0)]
    counted = [(2.0, "orders-1", COUNT, labels(), 100.0)]
    buckets = [
        (2.0, "orders-1", BUCKET, labels(le=le), float(count)) for le, count in cumulative.items()
    ]
    run = run_with(tmp_path, [*first, *counted, *buckets])
    [row] = red.by_route(run, 0.95).to_dict("records")
    assert (row["q_low_s"], row["q_high_s"]) == (0.2, 0.4)
    assert row["q_s"] == pytest.approx(0.3)
    assert red.quantile(red.growth(run, BUCKET), 0.5) == (0.0, 0.1, 0.1)


def test_without_data_there_is_no_number(tmp_path: Path) -> None:
    run = run_with(tmp_path, [(1.0, "orders-1", "up", {}, 1.0)])
    assert red.by_route(run).empty
    assert red.over_time(run, "orders").empty
    assert all(math.isnan(each) for each in red.quantile(red.growth(run, BUCKET), 0.5))
    assert red.gauge(run, "breaker_state").empty
