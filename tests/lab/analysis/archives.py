"""Writes synthetic archives: a clean run, and mutants with exactly one planted bug each.

`python -m tests.lab.analysis.archives DIR [MUTANT]` writes one archive.
"""

from __future__ import annotations

import copy
import json
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import yaml

from lab.archive import ARCHIVE_VERSION, Run
from lab.archive.manifest import write_manifest
from tests.lab.analysis.machine_rows import machine_rows, stated
from tests.lab.analysis.simulation import FAULT, PHASES, RATES, START_S, Row, Shop

State = dict[str, list[Row]]
LATENCY_FAULT = {
    **{"fault_id": "f-1", "kind": "latency", "target": "bank-1", "point": "inbound"},
    **{"scope": {"caller": "payments"}, "attributes": {"latency_ms": 2000}, "ttl_s": 15.0},
}
EXPERIMENT: dict[str, Any] = {
    "title": "The bank answers two seconds late",
    "description": "For 15 s every answer of the bank to payments comes 2 s late.",
    "steady-state-hypothesis": {"title": "Shoppers can browse and order", "probes": []},
    "method": [{"type": "action", "name": "make the bank slow"}],
    "rollbacks": [{"type": "action", "name": "remove every fault"}],
    "extensions": [
        {
            "name": "breakwater",
            "claim": "While the bank is slow, shoppers browse as always, every order gets an answer"
            " within 3 s, and every order is right in the end.",
            "load": "steady",
            "slis": [
                {
                    **{"name": "browsing stays fast", "route": "GET /api/products/{id}"},
                    **{"window": "during", "measure": "p95_ms", "limit": 100},
                },
                {
                    **{"name": "most orders are answered", "route": "POST /api/orders"},
                    **{"window": "during", "measure": "p75_ms", "limit": 3000},
                },
                {
                    **{"name": "no order fails", "route": "POST /api/orders"},
                    **{"window": "during", "measure": "error_ratio", "limit": 0.05},
                },
                {
                    **{"name": "all is as before", "route": "POST /api/orders"},
                    **{"window": "after", "measure": "p95_ms", "limit": 200},
                },
            ],
            "expects": {"breaker": {"edge": "payments->bank", "opens_within_s": 5.0}},
        }
    ],
}
MACHINE = machine_rows(START_S, 66)


@cache
def simulated(seed: int) -> Shop:
    """The simulation of one seed, made once per test session; read-only."""
    return Shop(seed).run()


def write_archive(path: Path, mutant: str = "", seed: int = 1) -> Path:
    """Write a raw (unsealed) archive with this planted bug, or a clean one."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "state").mkdir()
    for name, content in _clean_files(seed).items():
        (path / name).write_bytes(content)
    if mutant:
        clean, state = simulated(seed).state, copy.deepcopy(simulated(seed).state)
        MUTANTS[mutant][1](state, confirmed(state))
        for name, rows in state.items():
            if rows != clean[name]:
                (path / "state" / f"{name}.parquet").write_bytes(_parquet(rows))
    write_manifest(path)
    return path


@cache
def _clean_files(seed: int) -> dict[str, bytes]:
    """The files of the clean archive by name; cached, because the tests write it often."""
    shop = simulated(seed)
    faults = [
        LATENCY_FAULT | {"commanded_s": START_S + 20.0},
        {"fault_id": "f-1", "effective_s": START_S + FAULT[0], "hits": 1},
        {"fault_id": "f-1", "removed_s": START_S + FAULT[1], "hits": 40},
    ]
    met = {"steady_state_met": True}
    done = {
        key: [
            {"activity": each, "status": "succeeded", "output": None}
            for each in EXPERIMENT[planned]
        ]
        for key, planned in (("run", "method"), ("rollbacks", "rollbacks"))
    }
    journal = {
        **{"status": "completed", "deviated": False, "experiment": EXPERIMENT, **done},
        "steady_states": {"before": met, "after": met, "during": [met, met]},
    }
    files = {
        f"{name}.ndjson": "".join(json.dumps(row) + "\n" for row in rows).encode()
        for name, rows in (*shop.tables.items(), ("faults", faults), ("machine", MACHINE))
    }
    files |= {f"state/{name}.parquet": _parquet(rows) for name, rows in shop.state.items()}
    rows = {name: len(lines) for name, lines in shop.tables.items()}
    load_rows = {name: rows.pop(name) for name in ("requests", "history")}
    counts = {"rows": rows, "shed": dict.fromkeys(rows, 0)}
    for name, content in (
        ("run.json", run_info(load_rows, seed)),
        ("recorder.json", counts),
        ("journal.json", journal),
    ):
        files[name] = json.dumps(content, indent=2).encode()
    return files | {"experiment.yaml": yaml.safe_dump(EXPERIMENT, sort_keys=False).encode()}


def refit(path: Path) -> Path:
    """Rewrite the counts and the manifest of a changed archive so that they agree with what is there."""
    run = Run(path)
    for name, tables in (
        ("recorder.json", ("spans", "logs", "metrics", "breakers")),
        ("run.json", ("requests", "history")),
    ):
        if (path / name).is_file():
            content = json.loads((path / name).read_text())
            counts = {table: len(run.table(table)) for table in tables}
            content.get("load", content).setdefault("rows", {}).update(counts)
            (path / name).write_text(json.dumps(content))
    write_manifest(path)
    return path


def edit(path: Path, name: str, **changes: Any) -> Path:
    """Change the top-level keys of a JSON file of the archive, and rewrite the manifest."""
    file = path / name
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    write_manifest(path)
    return path


def edit_experiment(path: Path, changes: Row | None = None, **block: Any) -> Path:
    """Change the experiment and its breakwater block, in its file and in the journal's copy."""
    file = path / "experiment.yaml"
    experiment = yaml.safe_load(file.read_text()) | (changes or {})
    experiment["extensions"][0] |= block
    file.write_text(yaml.safe_dump(experiment))
    return edit(path, "journal.json", experiment=experiment)


def run_info(load_rows: dict[str, int], seed: int) -> Row:
    requests = load_rows["requests"]
    phases = [
        {"name": name, "start_s": START_S + start, "end_s": START_S + end}
        for name, (start, end) in PHASES.items()
    ]
    return {
        **{
            "archive_version": ARCHIVE_VERSION,
            "run_id": f"simulated-{seed}",
            "experiment": "payments_slow",
        },
        **{"seed": seed, "started_s": START_S, "ended_s": START_S + 66.0, "phases": phases},
        **{"profile": "steady", "interrupted": False, "arms": ["control"]},
        "load": {
            **{"planned": requests, "sent": requests, "dropped": 0, "shoppers": 20},
            **{"schedule_hash": "simulated", "rate_per_s": RATES, "rows": load_rows},
        },
        "residue": [],
        "exit_codes": {"chaos": 0, "load": 0},
        "config": {"resilience": "full", "outbox": "on", "idempotency": "on", "stock_guard": "on"},
        "versions": {"python": "3.13", "breakwater": "0.1.0"},
        "host": {"os": "simulated", "cpus": 2, "memory_bytes": 8 * 2**30},
        "machine": stated(MACHINE),
        "quiescence": {"reached": True, "waited_s": 2.5},
        "breakers": {
            "payments->bank": {
                **{"window_size": 20, "minimum_calls": 10, "failure_rate_threshold": 0.5},
                **{"wait_open_s": 3.0, "permitted_half_open": 3},
            }
        },
    }


def _parquet(rows: list[Row]) -> bytes:
    """An audit table in the lab's format, with timestamps."""
    frame = pd.DataFrame(rows)
    times = [name for name in frame.columns if name == "at" or name.endswith("_at")]
    casts = ", ".join(f'to_timestamp("{name}") AS "{name}"' for name in times)
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
        file = Path(folder) / "table.parquet"
        relation = connection.from_df(frame)
        relation.project(f"* REPLACE ({casts})" if times else "*").write_parquet(str(file))
        return file.read_bytes()


def confirmed(state: State) -> Row:
    """A confirmed order with one line, placed before the fault. The bugs are planted in it."""
    lines = [row["order_id"] for row in state["orders.lines"]]
    return next(
        order
        for order in state["orders.orders"]
        if order["status"] == "confirmed" and lines.count(order["order_id"]) == 1
    )


def of(rows: list[Row], order: Row, key: str = "order_id") -> list[Row]:
    return [row for row in rows if row.get(key) == order["order_id"]]


def double_capture(state: State, order: Row) -> None:
    capture = of(state["bank.ledger"], order, "reference")[-1]
    state["bank.ledger"].append(capture | {"entry_id": 10**6, "idempotency_key": "another"})


def confirmed_unpaid(state: State, order: Row) -> None:
    state["bank.ledger"].remove(of(state["bank.ledger"], order, "reference")[-1])


def cancelled_keeps_money(state: State, order: Row) -> None:
    declined = next(row for row in state["orders.orders"] if row["status"] == "cancelled")
    capture = of(state["bank.ledger"], order, "reference")[-1]
    state["bank.ledger"].append(
        capture | {"reference": declined["order_id"], "entry_id": 10**6, "idempotency_key": "x"}
    )


def money_for_no_order(state: State, order: Row) -> None:
    capture = of(state["bank.ledger"], order, "reference")[-1]
    state["bank.ledger"].append(capture | {"reference": "unknown", "idempotency_key": "x"})


def stock_below_zero(state: State, order: Row) -> None:
    row = state["inventory.stock"][0]
    row["shipped"] += row["on_hand"] + 1
    row["on_hand"] = -1


def oversell(state: State, order: Row) -> None:
    # A lost update: two buyers read the same stock; both reservations exist, but only one was counted.
    reservation = of(state["inventory.reservations"], order)[0]
    stock = next(row for row in state["inventory.stock"] if row["sku"] == reservation["sku"])
    stock["shipped"] -= reservation["quantity"]
    stock["on_hand"] += reservation["quantity"]


def same_key_twice(state: State, order: Row) -> None:
    """The same request creates a second, complete order."""
    for table, rows in state.items():
        key = "reference" if table.startswith("bank.") else "order_id"
        key = "aggregate_id" if table == "orders.outbox" else key
        for row in [row for row in rows if row.get(key) == order["order_id"]]:
            rows.append(_twin(row))
            if table == "inventory.reservations":
                stock = next(s for s in state["inventory.stock"] if s["sku"] == row["sku"])
                stock["shipped"] += row["quantity"]
                stock["on_hand"] -= row["quantity"]
    for table in ("notifications.inbox", "mail.messages"):
        state[table] += [_twin(row) for row in state[table] if order["order_id"] in str(row)]


def _twin(row: Row) -> Row:
    """A copy under other ids, but with the same idempotency key if it is an order's."""
    ids = {"order_id", "reference", "aggregate_id", "event_id", "authorization_id", "message_id"}
    ids |= {"payment_id", "notification_id"}
    twin = {name: f"{value}-twin" if name in ids else value for name, value in row.items()}
    if "reference" in row and "idempotency_key" in row:
        twin["idempotency_key"] += "-twin"
    return twin


def lost_outbox_row(state: State, order: Row) -> None:
    """The event is committed and never published, so no mail was sent."""
    event = f"OrderConfirmed-{order['order_id']}"
    next(row for row in state["orders.outbox"] if row["event_id"] == event)["published_at"] = None
    _forget(state, event)


def event_processed_never(state: State, order: Row) -> None:
    _forget(state, f"OrderConfirmed-{order['order_id']}")


def event_mailed_twice(state: State, order: Row) -> None:
    event = f"OrderConfirmed-{order['order_id']}"
    mail = next(row for row in state["notifications.mails"] if row["event_id"] == event)
    state["notifications.mails"].append(
        mail | {"notification_id": "again", "message_id": None, "status": "pending"}
    )


def events_out_of_order(state: State, order: Row) -> None:
    """The second event of a cancelled order took effect before its first event."""
    declined = next(row for row in state["orders.orders"] if row["status"] == "cancelled")
    event = f"OrderCancelled-{declined['order_id']}"
    cancelled = next(row for row in state["notifications.inbox"] if row["event_id"] == event)
    state["notifications.inbox"].append(
        {"event_id": f"OrderPlaced-{declined['order_id']}", "handler": "OrderPlaced",
         "processed_at": cancelled["processed_at"] + 5.0}
    )  # fmt: skip


def lost_order(state: State, order: Row) -> None:
    for table in ("orders.orders", "orders.lines", "orders.sagas", "orders.saga_log"):
        for row in of(state[table], order):
            state[table].remove(row)


def rejected_yet_confirmed(state: State, order: Row) -> None:
    """An order that was answered with 402 is confirmed, paid, shipped and mailed."""
    declined = next(row for row in state["orders.orders"] if row["status"] == "cancelled")
    order_id, total = declined["order_id"], declined["total_cents"]
    declined["status"] = "confirmed"
    capture = of(state["bank.ledger"], order, "reference")[-1]
    state["bank.ledger"].append(
        capture | {"reference": order_id, "amount_cents": total, "idempotency_key": "late"}
    )
    for row in of(state["orders.sagas"], declined):
        row["state"] = "done"
    for row in of(state["notifications.mails"], declined):
        row["kind"] = "OrderConfirmed"


def compensated_twice(state: State, order: Row) -> None:
    entry = next(row for row in state["orders.saga_log"] if row["phase"] == "compensated")
    state["orders.saga_log"].append(entry | {"seq": 10**6})


def compensated_never(state: State, order: Row) -> None:
    entry = next(row for row in state["orders.saga_log"] if row["phase"] == "compensated")
    state["orders.saga_log"].remove(entry)


def unfinished_saga(state: State, order: Row) -> None:
    """An order that hangs before its payment; its stock is still reserved."""
    declined = next(row for row in state["orders.orders"] if row["status"] == "cancelled")
    declined["status"] = "pending"
    for row in of(state["orders.sagas"], declined):
        row["state"] = "running"
    for row in of(state["inventory.reservations"], declined):
        row["status"] = "held"
        stock = next(s for s in state["inventory.stock"] if s["sku"] == row["sku"])
        stock["reserved"] += row["quantity"]
        stock["on_hand"] -= row["quantity"]


def mail_never_sent(state: State, order: Row) -> None:
    for row in of(state["notifications.mails"], order):
        row |= {"status": "failed", "sent_at": None}


def mail_received_twice(state: State, order: Row) -> None:
    message = next(row for row in state["mail.messages"] if order["order_id"] in row["message_id"])
    state["mail.messages"].append(dict(message))


def _forget(state: State, event: str) -> None:
    for table, key in (
        ("notifications.inbox", "event_id"),
        ("notifications.mails", "event_id"),
        ("mail.messages", "message_id"),
    ):
        state[table] = [row for row in state[table] if event not in str(row[key])]


MUTANTS: dict[str, tuple[int, Callable[[State, Row], None]]] = {
    "double_capture": (1, double_capture),
    "confirmed_unpaid": (2, confirmed_unpaid),
    "cancelled_keeps_money": (2, cancelled_keeps_money),
    "money_for_no_order": (2, money_for_no_order),
    "stock_below_zero": (3, stock_below_zero),
    "oversell": (3, oversell),
    "same_key_twice": (4, same_key_twice),
    "lost_outbox_row": (5, lost_outbox_row),
    "event_processed_never": (5, event_processed_never),
    "event_mailed_twice": (5, event_mailed_twice),
    "events_out_of_order": (5, events_out_of_order),
    "lost_order": (6, lost_order),
    "rejected_yet_confirmed": (6, rejected_yet_confirmed),
    "compensated_twice": (7, compensated_twice),
    "compensated_never": (7, compensated_never),
    "unfinished_saga": (8, unfinished_saga),
    "mail_never_sent": (9, mail_never_sent),
    "mail_received_twice": (9, mail_received_twice),
}


if __name__ == "__main__":
    write_archive(Path(sys.argv[1]), "".join(sys.argv[2:3]))
