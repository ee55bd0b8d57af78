"""The report links to the observability programs of its run, at the time of the run."""

import json
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from lab.archive import Run
from lab.report import write_report
from lab.report.links import MARGIN_S, links
from tests.lab.analysis.archives import write_archive

OBSERVERS = {
    "grafana": "http://127.0.0.1:3000",
    "prometheus": "http://127.0.0.1:8178",
    "jaeger": "http://127.0.0.1:8181",
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_archive(tmp_path / "run")


def watch(path: Path, **observers: str) -> Run:
    file = path / "run.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"observers": observers}))
    return Run(path)


def test_a_run_without_observability_programs_has_no_links(path: Path) -> None:
    assert links(Run(path)) == []


def test_each_link_shows_the_time_of_the_run(path: Path) -> None:
    run = watch(path, **OBSERVERS)
    start_s = run.info["phases"][0]["start_s"] - MARGIN_S
    found = {(link.system, link.text): link.url for link in links(run)}
    board = urlsplit(found["Grafana", "load, phases and faults"])
    assert board.path == "/d/breakwater-load"
    assert float(parse_qs(board.query)["from"][0]) == pytest.approx(1000 * start_s, abs=1)
    search = parse_qs(urlsplit(found["Jaeger", "traces"]).query)
    assert float(search["start"][0]) == pytest.approx(1e6 * start_s, abs=1)
    graph = parse_qs(urlsplit(found["Prometheus", "metrics"]).query)
    assert float(graph["g0.end_input"][0]) > 1000 * start_s


def test_links_to_grafana_name_existing_dashboards(path: Path) -> None:
    from dashboards import BOARDS

    run = watch(path, grafana=OBSERVERS["grafana"])
    stems = {urlsplit(link.url).path.removeprefix("/d/breakwater-") for link in links(run)}
    assert stems
    assert stems <= set(BOARDS)


def test_the_report_shows_the_links(path: Path) -> None:
    watch(path, prometheus=OBSERVERS["prometheus"])
    page = write_report(path).read_text()
    assert 'href="http://127.0.0.1:8178/graph?' in page
    assert "Grafana" not in page


def test_an_archive_cannot_put_other_links_than_web_pages_into_its_report(path: Path) -> None:
    run = watch(
        path, grafana="javascript:alert(1)", jaeger="data:text/html,x", prometheus="file:///x"
    )
    assert links(run) == []
    report = write_report(run.path).read_text()
    for scheme in ("javascript:", "data:text", "file:"):
        assert scheme not in report
