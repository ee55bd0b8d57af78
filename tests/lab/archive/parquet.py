"""Writes a Parquet file with the rows of a query."""

import duckdb


def write_parquet(query: str, path: str) -> None:
    """The file at `path` contains the result of `query`."""
    result = duckdb.sql(query)
    assert result is not None
    result.write_parquet(path)
