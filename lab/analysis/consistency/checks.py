"""The list of invariants, and what a check of one of them reports."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import duckdb

from lab.analysis.consistency.effects import (
    confirmed_orders_are_notified,
    events_take_effect_once,
    one_effect_per_key,
)
from lab.analysis.consistency.finding import Finding, Rows, missing, prepare
from lab.analysis.consistency.money import captures_once, money_matches
from lab.analysis.consistency.sagas import (
    acknowledged_orders_exist,
    compensations_follow_their_steps,
    sagas_have_ended,
)
from lab.analysis.consistency.stock import stock_adds_up
from lab.archive import Run

EXAMPLES_MAX = 5


@dataclass(frozen=True)
class Invariant:
    """One sentence that must be true, when, and the audit tables it is checked on."""

    id: int
    name: str
    when: str
    needs: tuple[str, ...]
    find: Callable[[Run], Finding]


@dataclass(frozen=True)
class Result:
    """status: ok, violated, or no_data (nothing to check is never a pass)."""

    id: int
    name: str
    when: str
    checked: int
    violations: int
    possible: int
    status: str
    detail: str = ""
    examples: Rows = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


ALWAYS, IN_THE_END = "always", "at quiescence"

INVARIANTS = {
    each.id: each
    for each in (
        Invariant(
            *(1, "an order is captured at most once", ALWAYS),
            *(("bank.ledger",), captures_once),
        ),
        Invariant(
            *(2, "confirmed means paid in full, cancelled means nothing kept", IN_THE_END),
            *(("orders.orders", "bank.ledger"), money_matches),
        ),
        Invariant(
            *(3, "initial stock = on hand + reserved + shipped, never negative", ALWAYS),
            *(("inventory.stock",), stock_adds_up),
        ),
        Invariant(
            *(4, "one idempotency key, one effect, one answer", ALWAYS),
            *(("orders.orders",), one_effect_per_key),
        ),
        Invariant(
            *(5, "a committed event is published and takes effect once, in order", IN_THE_END),
            *(("orders.outbox",), events_take_effect_once),
        ),
        Invariant(
            *(6, "no acknowledged order is lost, no rejected one confirmed", IN_THE_END),
            *(("orders.orders",), acknowledged_orders_exist),
        ),
        Invariant(
            *(7, "a compensation follows its step, once", ALWAYS),
            *(("orders.saga_log", "orders.sagas"), compensations_follow_their_steps),
        ),
        Invariant(
            *(8, "every saga has ended", IN_THE_END),
            *(("orders.orders", "orders.sagas"), sagas_have_ended),
        ),
        Invariant(
            *(9, "every confirmed order is notified, once", IN_THE_END),
            *(("orders.orders", "notifications.mails"), confirmed_orders_are_notified),
        ),
    )
}


def check_all(run: Run, ids: Iterable[int] = INVARIANTS) -> list[Result]:
    """Check these invariants, all of them by default. Raises KeyError for an unknown id."""
    prepare(run)
    return [check(run, INVARIANTS[number]) for number in ids]


def check(run: Run, invariant: Invariant) -> Result:
    """Check one invariant on a run whose views are prepared."""
    head = (invariant.id, invariant.name, invariant.when)
    if lacking := missing(run, invariant.needs):
        detail = f"the audit table {', '.join(lacking)} was not taken"
        return Result(*head, 0, 0, 0, "no_data", detail)
    try:
        found = invariant.find(run)
    except duckdb.BinderException as error:
        # An audit query of another version: what cannot be asked is not answered.
        detail = f"an audit table has not the columns it should: {str(error).splitlines()[0]}"
        return Result(*head, 0, 0, 0, "no_data", detail)
    status = "violated" if found.violations else "ok" if found.checked else "no_data"
    detail = found.detail if found.checked else found.detail or "there was nothing to check"
    return Result(
        *head,
        found.checked,
        len(found.violations),
        len(found.possible),
        status,
        detail,
        (found.violations or found.possible)[:EXAMPLES_MAX],
    )
