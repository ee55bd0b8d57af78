"""Where runs are kept, and how one of them is found."""

from __future__ import annotations

from pathlib import Path

from lab.archive.errors import ArchiveError
from lab.archive.run import is_archive
from lab.state import labs_folder


def runs_folder() -> Path:
    """Where runs are kept: `runs` in the labs' folder, `.lab` of the checkout or `LAB_DIR`."""
    return labs_folder() / "runs"


def list_runs(root: Path | str | None = None) -> list[Path]:
    """The archives below `root`, oldest first (a run's name starts with its UTC time)."""
    root = runs_folder() if root is None else Path(root)
    if not root.is_dir():
        return []
    return sorted(path for path in root.iterdir() if path.is_dir() and is_archive(path))


def find_run(name: str | None = None) -> Path:
    """A run's directory by its path, its name or the start of it; None: the newest.

    Raises ArchiveError when none fits, or several do.
    """
    if name is None:
        return latest_run()
    path = Path(name)
    if path.exists():
        return path
    fitting = [each for each in list_runs() if each.name.startswith(name) or name in each.name]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        names = ", ".join(each.name for each in fitting[-5:])
        raise ArchiveError(f"{len(fitting)} runs are called like {name!r}: say more ({names})")
    raise ArchiveError(f"there is no run {name!r}: `lab runs` lists those there are")


def latest_run(root: Path | str | None = None) -> Path:
    """The newest archive below `root`. Raises ArchiveError if there is none."""
    runs = list_runs(root)
    if not runs:
        raise ArchiveError(
            f"no run below {root or runs_folder()}: make one with `lab run payments_slow`"
        )
    return runs[-1]
