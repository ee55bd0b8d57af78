"""A run's directory as typed tables: `seal` writes them once, `Run` reads them anywhere."""

from lab.archive.errors import ArchiveError
from lab.archive.folder import POOLED, find_run, latest_run, list_pooled, list_runs, runs_folder
from lab.archive.run import Run
from lab.archive.seal import Sealed, seal
from lab.archive.tables import ARCHIVE_VERSION, AUDIT_TABLES

__all__ = [
    "ARCHIVE_VERSION",
    "AUDIT_TABLES",
    "POOLED",
    "ArchiveError",
    "Run",
    "Sealed",
    "find_run",
    "latest_run",
    "list_pooled",
    "list_runs",
    "runs_folder",
    "seal",
]
