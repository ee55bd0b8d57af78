"""The report is one self-contained page with the verdict in words, and its input is escaped."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from lab.archive import ArchiveError, Run
from lab.report import picture, words, write_report
from lab.report.redo import redo
from tests.lab.analysis.archives import EXPERIMENT, edit, edit_experiment, write_archive, write_load


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = write_archive(tmp_path_factory.mktemp("report") / "run")
    return write_report(path).read_text()


class Links(HTMLParser):
    """Collects all addresses that a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "srcset", "data", "action"):
                self.found.append(value or "")


def test_the_page_fetches_nothing(page: str) -> None:
    links = Links()
    links.feed(page)
    assert all(link.startswith(("#", "data:")) for link in links.found), links.found
    assert "script" not in links.tags
    assert not re.search(r"@import|url\((?!['\"]?(#|data:))", page)


def test_the_page_contains_verdict_claim_faults_and_orders(page: str) -> None:
    for text in (
        "Held. The shop behaved as claimed.",
        "Claim: While the bank is slow",
        "latency on bank-1",
        "took 1,960 ms or was given up, by payments: 0 before, 100 % during",
        "the breaker payments-&gt;bank opens within 5 s: after 1.",
        "every saga has ended",
        "480 placed, 442 confirmed, 38 cancelled",
        "the recording is complete",
        "simulated-1",
    ):
        assert text in page, text


def test_a_deviation_is_at_the_top_and_texts_of_the_archive_are_escaped(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "run", "double_capture")
    nasty = '<script>alert("x")</script>'
    (first, *slis) = EXPERIMENT["extensions"][0]["slis"]
    edit_experiment(path, {"title": nasty}, claim=nasty, slis=[first | {"name": nasty}, *slis])
    page = write_report(path).read_text()
    top = page[: page.index("Claim and limits")]
    assert "Deviated. The shop did not behave as claimed." in top
    assert "invariant 1 (an order is captured at most once): 1 violation<" in top
    assert re.search(r"order_id order-\d+, captures 2", page)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 3


def test_a_load_has_a_report_of_its_own(tmp_path: Path) -> None:
    page = write_report(write_load(tmp_path / "run")).read_text()
    for text in (
        "Measured. This load has no limits to keep or break.",
        "The load steady",
        "good answers per second",
        "<code>all routes</code>",
        "Below each value is its 95% interval",
        "No fault was recorded.",
        "lab load steady --duration 60 --seed 1",
    ):
        assert text in page, text
    for text in ("Invalid", "before the fault", "during the fault", "The shaded band"):
        assert text not in page, text


def test_an_invalid_load_is_no_verdict_on_the_shop(tmp_path: Path) -> None:
    path = write_load(tmp_path / "run")
    (path / "machine.ndjson").unlink()
    page = write_report(path).read_text()
    assert "Invalid. These figures are not those of the planned load on a free machine." in page
    assert "<code>all routes</code>" in page


def test_the_page_explains_its_figures(page: str) -> None:
    for text in (
        "The p95 of POST /api/orders rose from 3",
        "The claim requires that 75% are answered within 3,000 ms: they were, within 2,50",
        "38 were cancelled: ",
        "lab run payments_slow --seed 1",
        'data-th="interval"',
    ):
        assert text in page, text


def test_the_command_to_repeat_a_run_has_its_settings(tmp_path: Path) -> None:
    settings = {"RESILIENCE": "none", "orders.OUTBOX": "off"}
    path = edit(
        write_archive(tmp_path / "run"), "run.json",
        settings=settings, runtime="compose", profile="light", seed=7,
    )  # fmt: skip
    assert redo(Run(path)) == [
        "lab up --runtime compose --set RESILIENCE=none --set orders.OUTBOX=off",
        "lab run payments_slow --seed 7 --profile light",
    ]


def test_an_empty_run_has_a_report_without_requests(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"started_s": 1.0, "ended_s": 2.0}')
    page = write_report(tmp_path).read_text()
    assert "Invalid. This run proves nothing about the shop." in page
    assert "no request was recorded" in page


def test_if_the_browser_fails_the_overview_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture, "find_browser", lambda: "/bin/false")
    path = write_archive(tmp_path / "run")
    png = tmp_path / "img" / "report.png"
    assert "install chromium" in picture.write_picture(path, png)
    assert png.read_bytes().startswith(b"\x89PNG")
    assert [file.name for file in png.parent.iterdir()] == ["report.png"]


def test_a_damaged_run_leaves_no_report(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "run")
    (path / "requests.ndjson").write_text("garbage\n")
    with pytest.raises(ArchiveError, match="damaged"):
        write_report(path)
    assert not (path / "report.html").exists()
    assert Run(write_archive(tmp_path / "good")).verdict is None


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(2505.4, "ms", "2,505 ms"), (31.25, "ms", "31.2 ms"), (None, "ms", "\N{EN DASH}"),
     (float("nan"), "s", "\N{EN DASH}"), (0.0123, "", "1.2%")],
)  # fmt: skip
def test_figures_have_three_digits_and_a_unit(value: float, unit: str, text: str) -> None:
    assert words.figure(value, unit) == text
