"""`python -m lab.archive.compact SEGMENT.ndjson`: writes one full segment of a recording as Parquet."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import duckdb

from lab.archive.seal import seal_part
from lab.archive.tables import connect

MEMORY_MAX = "256MB"  # it shares the machine with a running shop; half of this is usual


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python -m lab.archive.compact SEGMENT.ndjson")
    os.nice(10)  # lower priority than the shop and the recorder
    part = Path(sys.argv[1])
    try:
        with connect(threads=1, memory_limit=MEMORY_MAX) as connection:
            seal_part(connection, part, keep=True)  # a reader may have it open
    except (OSError, duckdb.Error) as error:
        sys.exit(f"{part} cannot be compacted and is unchanged: {error}")


if __name__ == "__main__":
    main()
