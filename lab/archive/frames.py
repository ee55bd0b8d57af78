"""Converts a DuckDB relation to a pandas frame and keeps the column types."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb

if TYPE_CHECKING:
    import pandas as pd

# DuckDB type -> pandas type that allows nulls. Without it a column with a null becomes floats or objects.
NULLABLE = {"INTEGER": "Int32", "BIGINT": "Int64", "BOOLEAN": "boolean"}


def frame_of(relation: duckdb.DuckDBPyRelation) -> pd.DataFrame:
    """All rows: text stays text, DOUBLE becomes float64, null becomes NaN or NA."""
    import pandas as pd

    frame: pd.DataFrame = relation.df()
    types = {
        name: str(kind)
        for name, kind in zip(relation.columns, relation.types, strict=True)
        if str(kind) in NULLABLE and frame[name].isna().any()
    }
    if wide := [name for name, kind in types.items() if kind == "BIGINT"]:
        # Read these columns again as text: floats lose digits beyond 2^53.
        columns = (
            f'CAST("{name}" AS VARCHAR) AS "{name}"' if name in wide else f'"{name}"'
            for name in relation.columns
        )
        frame = relation.project(", ".join(columns)).df()
    for name, kind in types.items():
        frame[name] = frame[name].astype(pd.api.types.pandas_dtype(NULLABLE[kind]))
    return frame
