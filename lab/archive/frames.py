"""A relation as a pandas frame with the types that its columns have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb

if TYPE_CHECKING:
    import pandas as pd

# DuckDB's type: pandas' one that can miss values. By itself a column with a null would become floats or objects.
NULLABLE = {"INTEGER": "Int32", "BIGINT": "Int64", "BOOLEAN": "boolean"}


def frame_of(relation: duckdb.DuckDBPyRelation) -> pd.DataFrame:
    """All rows; text is text, DOUBLE float64, a null NaN or NA."""
    import pandas as pd

    frame: pd.DataFrame = relation.df()
    types = {
        name: str(kind)
        for name, kind in zip(relation.columns, relation.types, strict=True)
        if str(kind) in NULLABLE and frame[name].isna().any()
    }
    if wide := [name for name, kind in types.items() if kind == "BIGINT"]:
        # again, these as text: as floats they have lost what is beyond 2^53
        columns = (
            f'CAST("{name}" AS VARCHAR) AS "{name}"' if name in wide else f'"{name}"'
            for name in relation.columns
        )
        frame = relation.project(", ".join(columns)).df()
    for name, kind in types.items():
        frame[name] = frame[name].astype(pd.api.types.pandas_dtype(NULLABLE[kind]))
    return frame
