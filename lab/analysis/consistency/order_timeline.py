"""One order's whole way through the shop, put together from everybody's own records."""

from __future__ import annotations

import pandas as pd

from lab.analysis.orders import epoch_s
from lab.archive import Run

# audit table, the column that names the order, the time of the record, what it says
SOURCES = (
    ("orders.saga_log", "order_id", "at", "step || ' ' || phase"),
    ("bank.ledger", "reference", "at", "kind || ' ' || amount_cents || ' cents'"),
    (
        "inventory.reservations",
        "order_id",
        "updated_at",
        "sku || ' x ' || quantity || ' ' || status",
    ),
    ("orders.outbox", "aggregate_id", "created_at", "type || ' committed'"),
    ("orders.outbox", "aggregate_id", "published_at", "type || ' published'"),
    ("notifications.mails", "order_id", "sent_at", "kind || ' mail ' || status"),
)


def order_timeline(run: Run, order_id: str) -> pd.DataFrame:
    """after_s (seconds since the shopper came), who, what: in order of time.

    From the answers the shopper got and every audit table that was taken. Empty if nobody knows
    the order.
    """
    answers = run.sql(
        "SELECT intended_start_s, end_s, status, outcome FROM requests"
        " WHERE route = 'POST /api/orders' AND order_id = ? ORDER BY intended_start_s",
        [order_id],
    ).fetchall()
    told: list[tuple[float, str, str]] = []
    for came_s, end_s, status, outcome in answers:
        told.append((came_s, "shopper", "asks for it"))
        if end_s is not None:
            told.append((end_s, "shopper", f"is answered {status} ({outcome})"))
    for table, key, when, what in SOURCES:
        if table in run.states:
            rows = run.state(table)
            own = rows.filter(f"{key} = '{order_id.replace(chr(39), chr(39) * 2)}'")
            found = own.filter(f'"{when}" IS NOT NULL').project(f"{epoch_s(rows, when)}, {what}")
            told += [(at, table.split(".")[0], str(text)) for at, text in found.fetchall()]
    told.sort(key=lambda each: each[0])
    began = told[0][0] if told else 0.0
    return pd.DataFrame(
        [(round(at - began, 3), who, what) for at, who, what in told],
        columns=["after_s", "who", "what"],
    )
