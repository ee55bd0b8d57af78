"""An order ends when it is first confirmed or cancelled, even if it is cancelled again later."""

from collections.abc import Callable
from typing import Any

import duckdb
import pandas as pd
import pytest

from lab.analysis import orders, plots
from lab.archive import Run

PLACED = [
    ("kept", 1.0, 2.0, "confirmed"),
    ("regretted", 1.0, 8.0, "cancelled"),
    ("open", 3.0, 3.0, "pending"),
]
EVENTS = [
    ("kept", "OrderPlaced", 1.0),
    ("kept", "OrderConfirmed", 2.0),
    ("regretted", "OrderConfirmed", 2.5),
    ("regretted", "OrderCancelled", 8.0),
]


def keep(run: Run, name: str, columns: str, rows: list[tuple[Any, ...]]) -> None:
    frame = pd.DataFrame(rows, columns=columns.split())
    (run.path / "state").mkdir(exist_ok=True)
    duckdb.from_df(frame).write_parquet(str(run.path / "state" / f"{name}.parquet"))


@pytest.mark.parametrize("events", [True, False], ids=["events audited", "events not audited"])
def test_orders_placed_confirmed_cancelled_and_ended_in_each_second(
    tiny: Callable[..., Run], events: bool
) -> None:
    run = tiny(info={"started_s": 0.0, "ended_s": 10.0})
    keep(run, "orders.orders", "order_id created_at updated_at status", PLACED)
    if events:
        keep(run, "orders.outbox", "aggregate_id type created_at", EVENTS)
    table = orders.over_time(run).set_index("time_s")
    assert table["placed"].to_dict() | {1.0: 2, 3.0: 1} == table["placed"].to_dict()
    assert orders.totals(run) == {"placed": 3, "confirmed": 1, "cancelled": 1, "ended": 2}
    assert table["ended"][2.0] == (2 if events else 1)
    waiting = (table["placed"] - table["ended"]).cumsum()
    assert waiting[4.0] == (1 if events else 2)
    assert waiting.iloc[-1] == 1


@pytest.mark.parametrize(
    ("later", "became"),
    [
        (("late", 1.0, 9.5, "confirmed"), "2 when the load ended, all settled 4 s later"),
        (("late", 1.0, 1.0, "pending"), "2 when the load ended, 1 still pending 6 s later"),
    ],
)
def test_pending_orders_are_shown_until_they_are_settled_or_the_drain_ends(
    tiny: Callable[..., Run], later: tuple[Any, ...], became: str
) -> None:
    drain = {"name": "drain", "start_s": 6.0, "end_s": 12.0}
    request = {"route": "POST /api/orders", "logical_id": "a", "intended_start_s": 0.0}
    run = tiny(
        info={"started_s": 0.0, "ended_s": 13.0, "phases": [drain]},
        requests=[request | {"end_s": 6.0, "status": 201, "outcome": "ok", "session": "user001"}],
    )
    rows = [("soon", 2.0, 6.5, "confirmed"), later]
    keep(run, "orders.orders", "order_id created_at updated_at status", rows)
    (_, panel) = plots.orders_over_time(run).axes
    assert panel.get_title(loc="left") == f"Pending orders:  at most 2; {became}"
    assert panel.get_xlim() == (0.0, 12.0)
