"""docs/metrics.md as data, so that tests can compare it with the served metrics."""

import re
from dataclasses import dataclass

from lab.topology import PROJECT

PAGE = PROJECT / "docs" / "metrics.md"


@dataclass(frozen=True)
class Documented:
    """One metric: its section, `who` if the table has that column, the names of its labels, its type or ""."""

    name: str
    section: str
    type: str
    who: tuple[str, ...]
    labels: tuple[str, ...]


def documented() -> list[Documented]:
    """The metrics of all rows, in the order of the page, without those that Prometheus records."""
    found: list[Documented] = []
    section = ""
    columns: list[str] = []
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            section, columns = line[3:].partition(" (")[0], []
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| metric |"):
            columns = cells
        elif columns and line.startswith("| `"):
            row = dict(zip(columns, cells, strict=True))
            kind = row["type"].partition(",")[0]
            who = tuple(re.findall(r"\w+", row.get("who", "")))
            labels = tuple(" ".join(re.findall(r"`([^`]+)`", row["labels"])).split())
            for name in re.findall(r"`(\w+)`", row["metric"]):
                found.append(Documented(name, section, kind, who, labels))
    return found
