"""What a lab that crashed left behind: found by its lab.json, verified, ended and told."""

from pathlib import Path

import psutil

from lab.runtimes.posix import pids
from lab.state import Entry, Lab, NoLabError, StateError


def clean(home: Path) -> list[str]:
    """End and remove what is left in `home`; the caller holds its lock, so nobody supervises it.

    Returns a sentence for each thing found. Raises StateError if a process could not be ended.
    """
    try:
        lab = Lab.load(home)
    except NoLabError:
        return []
    except StateError:
        (home / "lab.json").unlink(missing_ok=True)
        return ["removed a lab.json that could not be read"]
    told = []
    data = (home / "data" / "postgres").resolve()
    left = _alive(lab.entries) | _backends(data)
    if still := pids.end(left):
        names = ", ".join(f"{left[pid]} (pid {pid})" for pid in still)
        raise StateError(f"left by the last lab and cannot be ended: {names}; end them first")
    told += [f"ended {name} (pid {pid}) that the last lab left" for pid, name in left.items()]
    # It names a pid that may be anybody's by now, or a zombie, and then PostgreSQL would not start. What it
    # guards against, somebody at work on the data, has just been looked for.
    (data / "postmaster.pid").unlink(missing_ok=True)
    for unfinished in home.glob(".lab.json.*"):
        unfinished.unlink()
    lab.path.unlink(missing_ok=True)
    return told or ["the last lab was not shut down; nothing of it was left running"]


def _alive(entries: list[Entry]) -> dict[int, str]:
    """Names of what still runs: the very processes, and members of their groups (nginx' worker)."""
    groups = {}
    for entry in entries:
        now = pids.identity(entry.pid) if entry.pid else ""
        # A pid is not given again while a group of that number lives; so if another process has it, our
        # group is gone.
        if entry.pid and now in ("", entry.identity):
            groups[entry.pid] = entry.name
    return {pid: groups[group] for pid, group in pids.members(groups).items()}


def _backends(data: Path) -> dict[int, str]:
    """PostgreSQL's processes on `data`: each works in it, and leads a group of its own."""
    found = {}
    for process in psutil.process_iter():
        try:
            if process.name() == "postgres" and process.cwd() == str(data):
                found[process.pid] = "postgres"
        except (psutil.Error, OSError):
            continue
    return found
