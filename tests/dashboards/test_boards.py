"""The committed dashboards are complete and readable, and query only documented series."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from grafana_foundation_sdk.models.dashboard import Dashboard

from lab.topology import PROJECT
from tests.dashboards.promtool import promtool
from tests.dashboards.reading import STEMS, annotations, board, panels, queries, series

WINDOWS = r"(?:10s|30s|60s|6m)$"
VARIABLES = ["datasource", "service", "instance", "arm"]


def documented() -> set[str]:
    """Every series in docs/metrics.md; a recorded one without its window."""
    named = {"ALERTS", "up"}
    for cell in re.findall(r"^\| (`[^|]*) \|", (PROJECT / "docs/metrics.md").read_text(), re.M):
        last = ""
        for word in re.findall(r"`([^` ]+)`", cell):
            last = last.rpartition(":")[0] + word if word.startswith(":") else word
            named.add(re.sub(WINDOWS, "", last))
    return named


def is_known(name: str, named: set[str]) -> bool:
    bases = {name, re.sub(r"_(bucket|sum|count)$", "", name), re.sub(WINDOWS, "", name)}
    return bool(named & bases)


def test_every_subject_has_a_dashboard() -> None:
    subjects = {"overview", "slo", "breakers", "consistency", "resources", "load"}
    assert set(STEMS) == subjects | {"postgres", "valkey", "nats"}


def test_queries_read_only_documented_series() -> None:
    named = documented()
    unknown = {
        (str(query), name)
        for query in [*queries(), *annotations()]
        for name in series(query.promql)
        if not is_known(name, named)
    }
    assert not unknown, f"not in docs/metrics.md: {sorted(unknown)}"


def test_the_series_of_a_query_are_found() -> None:
    expr = 'sum by (a, le) (rate(x_bucket{b="c{d}"}[10s])) / on (a) (e:f:g10s > 0) or vector(0)'
    assert series(expr) == {"x_bucket", "e:f:g10s"}
    assert all(series(query.promql) for query in [*queries(), *annotations()])


def test_prometheus_can_parse_every_query(tmp_path: Path) -> None:
    rules = [
        {"record": f"query:{number}", "expr": query.promql}
        for number, query in enumerate([*queries(), *annotations()])
    ]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    done = subprocess.run([promtool(), "check", "rules", file], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("stem", STEMS)
def test_grafanas_own_types_read_a_dashboard(stem: str) -> None:
    content = board(stem)
    read = Dashboard.from_json(content)
    assert read.uid == f"breakwater-{stem}"
    assert [each.name for each in read.templating.list_val or []] == VARIABLES
    assert content["annotations"]["list"]
    assert len(read.panels or []) == len(content["panels"])


@pytest.mark.parametrize("stem", STEMS)
def test_each_panel_has_a_short_title_a_unit_and_a_description(stem: str) -> None:
    titles = [panel["title"] for panel in panels(stem)]
    for panel in panels(stem):
        assert re.fullmatch(r"(?=.{1,45}$)[A-Z0-9].*[^?.]|Up", panel["title"]), panel["title"]
        assert re.fullmatch(r"[A-Z`0-9a-z].{5,}\.", panel["description"]), panel["title"]
        if panel["type"] in ("timeseries", "stat"):
            assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        if panel["type"] == "timeseries":
            assert panel["fieldConfig"]["defaults"]["custom"]["axisLabel"], panel["title"]
    assert len(titles) == len(set(titles))


@pytest.mark.parametrize("stem", STEMS)
def test_panels_neither_overlap_nor_leave_the_grid(stem: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in board(stem)["panels"]:
        at = panel["gridPos"]
        xs, ys = range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])
        cells = {(x, y) for x in xs for y in ys}
        assert at["x"] + at["w"] <= 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells


def test_panels_have_unique_ids() -> None:
    for stem in STEMS:
        ids = [panel["id"] for panel in board(stem)["panels"]]
        assert len(ids) == len(set(ids))
