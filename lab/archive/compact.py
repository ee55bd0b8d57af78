"""`python -m lab.archive.compact SEGMENT.ndjson`: one full segment of a running recording to Parquet."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import duckdb

from lab.archive.seal import seal_part
from lab.archive.tables import connect

MEMORY_MAX = "256MB"  # beside a running shop; it takes about half


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python -m lab.archive.compact SEGMENT.ndjson")
    os.nice(10)  # the shop and the recording come first
    part = Path(sys.argv[1])
    try:
        with connect(threads=1, memory_limit=MEMORY_MAX) as connection:
            seal_part(connection, part)
    except (OSError, duckdb.Error) as error:
        sys.exit(f"{part} stays as it is: {error}")


if __name__ == "__main__":
    main()
