"""The list of invariants, and the functions that check them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
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
ALWAYS, AT_QUIESCENCE = "always", "at quiescence"


@dataclass(frozen=True)
class Invariant:
    """A sentence that must be true, when it must be true, and the audit tables of its check."""

    id: int
    name: str
    when: str
    needs: tuple[str, ...]
    find: Callable[[Run], Finding]


@dataclass(frozen=True)
class Result:
    """The result of one check. `status`: ok, violated or no_data (no_data is never a pass)."""

    id: int
    name: str
    when: str
    checked: int = 0
    violations: int = 0
    possible: int = 0
    status: str = "no_data"
    detail: str = ""
    examples: Rows = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


# docs/invariants.md explains each of them.
INVARIANTS = {
    each.id: each
    for each in (
        Invariant(
            id=1,
            name="an order is captured at most once",
            when=ALWAYS,
            needs=("bank.ledger",),
            find=captures_once,
        ),
        Invariant(
            id=2,
            name="confirmed means paid in full, cancelled means nothing kept",
            when=AT_QUIESCENCE,
            needs=("orders.orders", "bank.ledger"),
            find=money_matches,
        ),
        Invariant(
            id=3,
            name="initial stock = on hand + reserved + shipped, never negative",
            when=ALWAYS,
            needs=("inventory.stock",),
            find=stock_adds_up,
        ),
        Invariant(
            id=4,
            name="one idempotency key, one effect, one answer",
            when=ALWAYS,
            needs=("orders.orders",),
            find=one_effect_per_key,
        ),
        Invariant(
            id=5,
            name="a committed event is published and takes effect once, in order",
            when=AT_QUIESCENCE,
            needs=("orders.outbox",),
            find=events_take_effect_once,
        ),
        Invariant(
            id=6,
            name="no acknowledged order is lost, no rejected one confirmed",
            when=AT_QUIESCENCE,
            needs=("orders.orders",),
            find=acknowledged_orders_exist,
        ),
        Invariant(
            id=7,
            name="a compensation follows its step, once",
            when=ALWAYS,
            needs=("orders.saga_log", "orders.sagas"),
            find=compensations_follow_their_steps,
        ),
        Invariant(
            id=8,
            name="every saga has ended",
            when=AT_QUIESCENCE,
            needs=("orders.orders", "orders.sagas"),
            find=sagas_have_ended,
        ),
        Invariant(
            id=9,
            name="every confirmed order is notified, once",
            when=AT_QUIESCENCE,
            needs=("orders.orders", "notifications.mails"),
            find=confirmed_orders_are_notified,
        ),
    )
}


def check_all(run: Run, ids: Iterable[int] = INVARIANTS) -> list[Result]:
    """Check the invariants with these ids, by default all. Raises KeyError for an unknown id."""
    prepare(run)
    return [check(run, INVARIANTS[number]) for number in ids]


def check(run: Run, invariant: Invariant) -> Result:
    """Check one invariant on a run whose views are prepared."""
    result = Result(invariant.id, invariant.name, invariant.when)
    if lacking := missing(run, invariant.needs):
        return replace(result, detail=f"the archive has no audit table {', '.join(lacking)}")
    try:
        finding = invariant.find(run)
    except duckdb.BinderException as error:
        # The audit query of another version has other columns: the invariant cannot be checked.
        reason = str(error).splitlines()[0]
        return replace(result, detail=f"an audit table has unexpected columns: {reason}")
    status = "violated" if finding.violations else "ok" if finding.checked else "no_data"
    return replace(
        result,
        checked=finding.checked,
        violations=len(finding.violations),
        possible=len(finding.possible),
        status=status,
        detail=finding.detail or ("" if finding.checked else "there was nothing to check"),
        examples=(finding.violations or finding.possible)[:EXAMPLES_MAX],
    )
