"""Removes what a crashed lab left behind: found by its lab.json, identified, ended and reported."""

from pathlib import Path

import psutil

from lab.runtimes.posix import pids
from lab.state import Entry, Lab, NoLabError, StateError


def clean(home: Path) -> list[str]:
    """End and remove what is left in `home`. The caller holds its lock, so no supervisor runs.

    Returns a sentence for each thing found. Raises StateError if a process could not be ended.
    """
    try:
        lab = Lab.load(home)
    except NoLabError:
        return []
    except StateError:
        (home / "lab.json").unlink(missing_ok=True)
        return ["removed a lab.json that could not be read"]
    done = []
    data = (home / "data" / "postgres").resolve()
    left = _alive(lab.entries) | _backends(data)
    if still := pids.end(left):
        names = ", ".join(f"{left[pid]} (pid {pid})" for pid in still)
        raise StateError(f"left by the last lab and cannot be ended: {names}; end them first")
    done += [f"ended {name} (pid {pid}) that the last lab left" for pid, name in left.items()]
    # PostgreSQL refuses to start while the pid in this file exists, and another process or a zombie may have
    # that pid by now. No process works on the data any more: the lines above ended them.
    (data / "postmaster.pid").unlink(missing_ok=True)
    for unfinished in home.glob(".lab.json.*"):
        unfinished.unlink()
    lab.path.unlink(missing_ok=True)
    return done or ["the last lab was not shut down; nothing of it was left running"]


def _alive(entries: list[Entry]) -> dict[int, str]:
    """The processes that still run, as {pid: name}, with the members of their groups (nginx' worker)."""
    groups = {}
    for entry in entries:
        now = pids.identity(entry.pid) if entry.pid else ""
        # The system does not reuse a pid while a group of that number exists: if another process has the pid,
        # the group has ended.
        if entry.pid and now in ("", entry.identity):
            groups[entry.pid] = entry.name
    return {pid: groups[group] for pid, group in pids.members(groups).items()}


def _backends(data: Path) -> dict[int, str]:
    """PostgreSQL's processes on `data`: it is their working directory, and each leads its own group."""
    found = {}
    for process in psutil.process_iter():
        try:
            if process.name() == "postgres" and process.cwd() == str(data):
                found[process.pid] = "postgres"
        except (psutil.Error, OSError):
            continue
    return found
