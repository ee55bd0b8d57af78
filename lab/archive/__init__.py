"""A run's directory as typed tables: write it once (`seal`), read it anywhere (`Run`)."""

from lab.archive.run import ArchiveError, Run, latest_run, list_runs
from lab.archive.seal import Sealed, replace_table, seal

__all__ = ["ArchiveError", "Run", "Sealed", "latest_run", "list_runs", "replace_table", "seal"]
