"""Each plot draws the run, gives the result in its title, and accepts an empty run."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from lab.analysis import latency, plots
from lab.analysis.verdict.claim import claim_of
from lab.analysis.verdict.slis import evaluate
from lab.archive import Run

EDGE, ORDERS = "payments->bank", "POST /api/orders"
PLOTS: dict[str, tuple[Callable[[Run], Figure], str]] = {
    "overview": (plots.overview, "p95 3\\d ms before, 2,50\\d ms during, 3\\d ms after"),
    "timeline": (plots.timeline, "Phases, faults and steps"),
    "latency": (plots.latency_over_time, "GET /api/products:  p95 1\\d ms before"),
    "answers": (plots.answers_over_time, "all 1,824 succeeded"),
    "breakers": (plots.breaker_timeline, "1 opened, (once|\\d times); 1,116 calls rejected"),
    "window": (lambda run: plots.breaker_window(run, EDGE), "payments → bank"),
    "predicted": (lambda run: plots.predicted_and_measured(run, EDGE), "Predicted and measured"),
    "orders": (plots.orders_over_time, "480 placed, 442 confirmed, 38 cancelled"),
    "settling": (plots.settling_times, "slowest 16.\\d s"),
    "spectrum": (lambda run: plots.spectrum(run, ORDERS), "latency percentiles"),
    "naive": (lambda run: plots.naive_and_intended(latency.spectra(run)), "coordinated omission"),
    "load": (plots.load_delivered, "1,824 of 1,824 requests sent"),
    "limits": (lambda run: plots.sli_chart([evaluate(sli, run) for sli in claim_of(run).slis]), ""),
}


def text_of(figure: Figure) -> str:
    """All titles and texts of the figure's axes."""
    words = [axes.get_title(loc="left") for axes in figure.axes]
    words += [text.get_text() for axes in figure.axes for text in axes.texts]
    return " | ".join(words)


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_gives_its_result_and_names_its_axes(clean: Run, name: str) -> None:
    draw, answer = PLOTS[name]
    figure = draw(clean)
    assert re.search(answer, text_of(figure)), text_of(figure)
    assert any(axes.get_xlabel() for axes in figure.axes)


@pytest.mark.parametrize("name", PLOTS)
def test_an_empty_run_is_drawn_with_the_reason(tmp_path: Path, name: str) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"started_s": 0.0, "ended_s": 10.0}))
    draw, _ = PLOTS[name]
    figure = draw(Run(tmp_path))
    if name != "spectrum":
        assert re.search(r"no |not |nothing", text_of(figure)), text_of(figure)
    assert plots.svg(figure, name).startswith("<svg")


def test_failed_requests_are_counted_in_the_title(archive: Callable[..., Path]) -> None:
    path = archive()
    rows = [json.loads(line) for line in (path / "requests.ndjson").read_text().splitlines()]
    for row, outcome in zip(rows, ("fail", "fail", "unknown"), strict=False):
        row["outcome"] = outcome
    rows[3] |= {"dropped": True, "outcome": "fail", "end_s": None, "actual_start_s": None}
    (path / "requests.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows))
    title = text_of(plots.answers_over_time(Run(path)))
    assert "2 failed, 1 are unknown, 1 were not sent" in title


def test_svg_uses_the_pages_colours_and_its_ids_have_a_prefix(clean: Run) -> None:
    drawn = {name: plots.svg(plots.breaker_timeline(clean), name) for name in ("one", "two")}
    for name, text in drawn.items():
        assert "var(--ink, #24292f)" in text
        ids = re.findall(r'id="([^"]+)"', text)
        assert all(each.startswith(f"{name}-") for each in ids)
        used = set(re.findall(r'xlink:href="#([^"]+)"|url\(#([^)]+)\)', text))
        assert {a or b for a, b in used} <= set(ids)
