"""Renders files from the topology by pure functions. `lab render` writes them, `lab render --check` compares them.

A renderer is a module of this folder, listed in `RENDERERS`, with `files(topology)`: the text of each of its files
by path. `checks` covers the hand-written files that repeat facts of the topology.
"""

from collections.abc import Sequence
from difflib import unified_diff
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from lab.nearest import nearest
from lab.topology import PROJECT, Topology

RENDERERS = ("nginx", "compose", "nats", "valkey", "prometheus", "dashboards", "fluentd")


class RenderError(ValueError):
    """There is no such renderer; the message lists them."""

    exit_code = 2


class File(NamedTuple):
    """One rendered file: its renderer, its path below the project, and its expected text."""

    renderer: str
    path: str
    text: str

    def difference(self, project: Path = PROJECT) -> str:
        """A unified diff from the file on disk to the expected text; "" if they are equal."""
        path = project / self.path
        # newline="": other line ends are a difference
        current = path.open(newline="").read() if path.is_file() else ""
        if current == self.text and path.is_file():
            return ""
        lines = unified_diff(
            current.splitlines(), self.text.splitlines(), self.path, "rendered", lineterm=""
        )
        return "\n".join(lines) or f"{self.path}: missing, or other line ends"

    def write(self, project: Path = PROJECT) -> None:
        path = project / self.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.text, newline="")


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
