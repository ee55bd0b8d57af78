"""`python -m lab.archive.compact SEGMENT.ndjson`: one full segment of a running recording to Parquet."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import duckdb

from lab.archive.seal import ONE_CORE, seal_part


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python -m lab.archive.compact SEGMENT.ndjson")
    os.nice(10)  # the shop and the recording come first
    part = Path(sys.argv[1])
    try:
        with duckdb.connect(config=ONE_CORE) as connection:
            seal_part(connection, part)
    except (OSError, duckdb.Error) as error:
        sys.exit(f"{part} stays as it is: {error}")


if __name__ == "__main__":
    main()
