"""How long each service took, from its server spans: where in the shop the time went."""

from __future__ import annotations

import pandas as pd

from lab.analysis.windows import window
from lab.archive import Run


def by_service(run: Run) -> pd.DataFrame:
    """One row a service: calls and p95_ms of its server spans before, during and after the fault.

    Columns are `<window>_calls` and `<window>_p95_ms`; a service nobody called then has NaN.
    """
    columns: dict[str, pd.Series] = {}
    for over in ("before", "during", "after"):
        start_s, end_s = window(run, over)
        found: pd.DataFrame = run.sql(
            "SELECT service, count(*) AS calls,"
            " quantile_cont((end_ns - start_ns) / 1e6, 0.95) AS p95_ms FROM spans"
            " WHERE kind = 'server' AND start_ns BETWEEN ? AND ? GROUP BY service",
            [int(start_s * 1e9), int(end_s * 1e9)],
        ).df()
        found = found.set_index("service")
        columns |= {f"{over}_{name}": found[name] for name in found.columns}
    return pd.DataFrame(columns).sort_index()
