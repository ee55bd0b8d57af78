"""The pages hold together: links lead somewhere, the index is complete, the tutorial's experiment is accepted."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from lab.chaos.experiment.loader import load_experiment
from lab.topology import PROJECT

DOCS = PROJECT / "docs"
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")


def _tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [path for name in listed.stdout.splitlines() if (path := PROJECT / name).is_file()]


PAGES = _tracked(":(glob)*.md", "docs/**.md")


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", each).lower() for each in headings)
    return {re.sub(r"[^\w\- ]", "", each).strip().replace(" ", "-") for each in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for found in LINK.finditer(text):
        address = found[1] or found[2]
        if re.match(r"https?://|mailto:", address):
            continue
        name, _, anchor = address.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{address}: no such file"
        if anchor and target.suffix == ".md":
            assert anchor in _anchors(target), f"{address}: no such heading"


def test_the_index_lists_every_page() -> None:
    index = (DOCS / "README.md").read_text()
    for page in DOCS.glob("*.md"):
        assert page.name == "README.md" or f"]({page.name})" in index, page.name


def test_the_index_of_decision_records_is_complete() -> None:
    index = (DOCS / "adr/README.md").read_text()
    records = sorted(path.name for path in DOCS.glob("adr/0*.md"))
    assert len(records) >= 10
    assert re.findall(r"\]\((0[\w-]+\.md)\)", index) == records


def test_where_to_change_names_places_that_exist() -> None:
    text = (DOCS / "architecture.md").read_text()
    section = text.split("## Where do I change")[1].split("\n## ")[0]
    rows = re.findall(r"^\| \d+\. [^|]+ \| ([^|]+) \|", section, flags=re.MULTILINE)
    assert len(rows) >= 20
    for row in rows:
        for place in re.findall(r"`([\w./-]*/[\w./-]*|docker-compose\.yml)`", row):
            assert (PROJECT / place).exists(), place


def test_the_experiment_of_the_tutorial_is_accepted(tmp_path: Path) -> None:
    block = re.search(r"```yaml\n(.*?)```", (DOCS / "tutorial.md").read_text(), flags=re.DOTALL)
    assert block is not None
    file = tmp_path / "inventory_slow.yaml"
    file.write_text(block[1])
    assert load_experiment(str(file)).plan.proxied is False
    assert yaml.safe_load(block[1])["title"] == "A slow inventory makes orders slow, but not wrong"
