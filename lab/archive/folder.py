"""Finds runs: the folder of all runs, one run by name, the newest run."""

from __future__ import annotations

from pathlib import Path

from lab.archive.errors import ArchiveError
from lab.archive.run import is_archive
from lab.state import labs_folder

LATEST = "latest"
POOLED = "pooled-"  # a pooled verdict of several runs, a JSON file beside them


def runs_folder() -> Path:
    """The folder of all runs: `runs` in `.lab` of the checkout, or in `LAB_DIR`."""
    return labs_folder() / "runs"


def list_runs(root: Path | str | None = None) -> list[Path]:
    """The archives below `root`, oldest first (a run's name starts with its UTC time)."""
    root = runs_folder() if root is None else Path(root)
    if not root.is_dir():
        return []
    return sorted(path for path in root.iterdir() if path.is_dir() and is_archive(path))


def list_pooled() -> list[Path]:
    """The pooled verdicts, oldest first."""
    return sorted(runs_folder().glob(f"{POOLED}*.json"))


def find_run(name: str | None = None) -> Path:
    """The directory of a run, by path, name, unique prefix or unique part; None or "latest" means the newest run.

    The first of these that matches counts. Raises ArchiveError if no run matches, or several do.
    """
    if name is None or name == LATEST:
        return latest_run()
    path = Path(name)
    if path.exists():
        return path
    runs = list_runs()
    matching = (
        [each for each in runs if each.name == name]
        or [each for each in runs if each.name.startswith(name)]
        or [each for each in runs if name in each.name]
    )
    if len(matching) == 1:
        return matching[0]
    if matching:
        names = ", ".join(each.name for each in matching[-5:])
        raise ArchiveError(f"{len(matching)} runs match {name!r}: use a longer name ({names})")
    raise ArchiveError(f"there is no run {name!r}: `lab runs` lists all runs")


def latest_run(root: Path | str | None = None) -> Path:
    """The newest archive below `root`. Raises ArchiveError if there is none."""
    runs = list_runs(root)
    if not runs:
        raise ArchiveError(
            f"there is no run in {root or runs_folder()}: record one with `lab run payments_slow`"
        )
    return runs[-1]
