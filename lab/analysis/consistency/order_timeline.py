"""The timeline of one order, from the shopper's answers and the records of all services."""

from __future__ import annotations

import pandas as pd

from lab.analysis.orders import epoch_s
from lab.archive import Run

# audit table, column of the order id, column of the time, SQL text of the entry
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
    """The entries of one order by time: after_s (seconds since the first entry), source, entry.

    Sources are the shopper's answers and all audit tables. Empty if the order is unknown.
    """
    answers = run.sql(
        "SELECT intended_start_s, end_s, status, outcome FROM requests"
        " WHERE route = 'POST /api/orders' AND order_id = ? ORDER BY intended_start_s",
        [order_id],
    ).fetchall()
    entries: list[tuple[float, str, str]] = []
    for came_s, end_s, status, outcome in answers:
        entries.append((came_s, "shopper", "places the order"))
        if end_s is not None:
            entries.append((end_s, "shopper", f"receives {status} ({outcome})"))
    for table, key, when, text in SOURCES:
        if table in run.states:
            rows = run.state(table)
            own = rows.filter(f"{key} = '{order_id.replace(chr(39), chr(39) * 2)}'")
            found = own.filter(f'"{when}" IS NOT NULL').project(f"{epoch_s(rows, when)}, {text}")
            entries += [(at, table.split(".")[0], str(entry)) for at, entry in found.fetchall()]
    entries.sort(key=lambda each: each[0])
    began = entries[0][0] if entries else 0.0
    return pd.DataFrame(
        [(round(at - began, 3), source, entry) for at, source, entry in entries],
        columns=["after_s", "source", "entry"],
    )
