"""From the topology to text: pure functions; what is committed of their output is checked against them.

A renderer is a module of this folder, named in `RENDERERS`, with `files(topology)`: the text of each file it owns
by its path below the project. `lab render` writes them, `lab render --check` compares.
"""

from collections.abc import Sequence
from difflib import unified_diff
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from lab.nearest import nearest
from lab.topology import PROJECT, Topology

RENDERERS = ("nginx", "compose", "prometheus", "dashboards", "fluentd")


class RenderError(ValueError):
    """What was asked for cannot be rendered; the message says what can."""

    exit_code = 2


class File(NamedTuple):
    """One rendered file: whose it is, its path below the project, and what it should hold."""

    renderer: str
    path: str
    text: str

    def difference(self, project: Path = PROJECT) -> str:
        """What is on disk against what is rendered, as a unified diff; "" if they agree."""
        there = project / self.path
        # newline="": a file with other line ends is another file
        held = there.open(newline="").read() if there.is_file() else ""
        if held == self.text and there.is_file():
            return ""
        lines = unified_diff(
            held.splitlines(), self.text.splitlines(), self.path, "rendered", lineterm=""
        )
        return "\n".join(lines) or f"{self.path}: missing, or other line ends"

    def write(self, project: Path = PROJECT) -> None:
        there = project / self.path
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_text(self.text, newline="")


def render(topology: Topology, names: Sequence[str] = ()) -> list[File]:
    """Every file of the named renderers, of all without a name. Raises RenderError."""
    for name in names:
        if name not in RENDERERS:
            raise RenderError(f"no renderer {name!r}{nearest(name, RENDERERS)}")
    return [
        File(name, path, text)
        for name in names or RENDERERS
        for path, text in import_module(f"lab.render.{name}").files(topology).items()
    ]
