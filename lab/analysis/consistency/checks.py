"""The list of invariants, and the functions that check them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import duckdb

from lab.analysis.consistency.acknowledgements import cancellations_are_done, orders_are_as_asked
from lab.analysis.consistency.effects import (
    cancelled_orders_are_notified,
    confirmed_orders_are_notified,
    events_take_effect_once,
    one_effect_per_key,
)
from lab.analysis.consistency.errors import no_unhandled_errors
from lab.analysis.consistency.events import changes_have_events, effects_have_events
from lab.analysis.consistency.finding import (
    Finding,
    Rows,
    missing,
    orders_missing,
    prepare,
    with_traces,
)
from lab.analysis.consistency.goods import goods_follow_the_order
from lab.analysis.consistency.holds import held_once, ledger_adds_up, payments_agree
from lab.analysis.consistency.mails import mails_are_right
from lab.analysis.consistency.money import captures_once, money_matches
from lab.analysis.consistency.prices import totals_add_up
from lab.analysis.consistency.sagas import (
    acknowledged_orders_exist,
    compensations_follow_their_steps,
    sagas_have_ended,
)
from lab.analysis.consistency.shoppers.catalogue import pages_show_the_catalogue
from lab.analysis.consistency.shoppers.reads import (
    lists_are_complete,
    orders_are_shown_as_they_were,
)
from lab.analysis.consistency.shoppers.refusals import refusals_are_true, the_forbidden_is_refused
from lab.analysis.consistency.shoppers.repeats import repeats_get_the_same_answer
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
    """The result of one check.

    `status`: ok; violated; empty (this run had nothing to check, e.g. no cancellation); no_data (the
    archive lacks what the check needs: never a pass, the run is invalid).
    """

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
_ALL = (
    Invariant(1, "an order is captured at most once", ALWAYS,
              ("bank.ledger",), captures_once),
    Invariant(2, "confirmed means paid in full, cancelled means nothing kept", AT_QUIESCENCE,
              ("orders.orders", "bank.ledger"), money_matches),
    Invariant(3, "initial stock = on hand + reserved + shipped, never negative", ALWAYS,
              ("inventory.stock",), stock_adds_up),
    Invariant(4, "one idempotency key, one effect, one answer", ALWAYS,
              ("orders.orders",), one_effect_per_key),
    Invariant(5, "a committed event is published and takes effect once, in order", AT_QUIESCENCE,
              ("orders.outbox",), events_take_effect_once),
    Invariant(6, "no acknowledged order is lost, no rejected one confirmed", AT_QUIESCENCE,
              ("orders.orders",), acknowledged_orders_exist),
    Invariant(7, "a compensation follows its step, once", ALWAYS,
              ("orders.orders", "orders.saga_log", "orders.sagas"), compensations_follow_their_steps),
    Invariant(8, "every saga has ended", AT_QUIESCENCE,
              ("orders.orders", "orders.sagas"), sagas_have_ended),
    Invariant(9, "every confirmed order is notified, once", AT_QUIESCENCE,
              ("orders.orders", "notifications.mails"), confirmed_orders_are_notified),
    Invariant(10, "an order's total is the sum of its lines, at the catalogue's prices", ALWAYS,
              ("orders.orders", "orders.lines", "products.products"), totals_add_up),
    Invariant(11, "the bank holds an order's total once, on its card, until the order ends", AT_QUIESCENCE,
              ("orders.orders", "bank.authorizations"), held_once),
    Invariant(12, "the bank's ledger adds up to its authorizations", ALWAYS,
              ("bank.authorizations", "bank.ledger"), ledger_adds_up),
    Invariant(13, "payments has the order's terms and the bank's amounts", AT_QUIESCENCE,
              ("orders.orders", "payments.payments", "payments.operations", "bank.authorizations",
               "bank.ledger"), payments_agree),
    Invariant(14, "goods are reserved as ordered, shipped if confirmed, put back if cancelled", AT_QUIESCENCE,
              ("orders.orders", "orders.lines", "orders.sagas", "inventory.reservations"),
              goods_follow_the_order),
    Invariant(15, "each state change of an order has its event, once, with the order's data", ALWAYS,
              ("orders.orders", "orders.sagas", "orders.outbox"), changes_have_events),
    Invariant(16, "each effect has its event", AT_QUIESCENCE,
              ("orders.outbox", "users.outbox", "notifications.inbox", "notifications.mails"),
              effects_have_events),
    Invariant(17, "a mail names its order, is true, and goes to the order's customer", ALWAYS,
              ("orders.orders", "orders.sagas", "orders.outbox", "users.users", "users.outbox",
               "notifications.mails"), mails_are_right),
    Invariant(18, "every cancelled order is notified, once", AT_QUIESCENCE,
              ("orders.orders", "notifications.mails"), cancelled_orders_are_notified),
    Invariant(19, "an acknowledged cancellation is done", AT_QUIESCENCE,
              ("orders.orders",), cancellations_are_done),
    Invariant(20, "an order is what its shopper asked for", ALWAYS,
              ("orders.orders", "orders.lines"), orders_are_as_asked),
    Invariant(21, "an order is shown to its customer only, as it was at that time", ALWAYS,
              ("orders.orders", "orders.lines", "orders.outbox"), orders_are_shown_as_they_were),
    Invariant(22, "a customer's list has each acknowledged order", ALWAYS,
              ("orders.orders",), lists_are_complete),
    Invariant(23, "pages show the catalogue", ALWAYS,
              ("products.products",), pages_show_the_catalogue),
    Invariant(24, "a repeated request gets the same answer", ALWAYS,
              (), repeats_get_the_same_answer),
    Invariant(25, "what must be refused is refused", ALWAYS,
              (), the_forbidden_is_refused),
    Invariant(26, "a refusal is true", ALWAYS,
              ("inventory.stock", "inventory.reservations"), refusals_are_true),
    Invariant(27, "no service meets an unhandled error", ALWAYS,
              (), no_unhandled_errors),
)  # fmt: skip
INVARIANTS = {invariant.id: invariant for invariant in _ALL}


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
    if finding.lacks:
        status, detail = "no_data", finding.lacks
    elif finding.violations:
        status, detail = "violated", finding.detail
    elif finding.checked:
        status, detail = "ok", finding.detail
    elif lacking_orders := orders_missing(run):
        status, detail = "no_data", lacking_orders
    else:
        status, detail = "empty", "this run had nothing to check"
    return replace(
        result,
        checked=finding.checked,
        violations=len(finding.violations),
        possible=len(finding.possible),
        status=status,
        detail=detail,
        examples=with_traces(run, (finding.violations or finding.possible)[:EXAMPLES_MAX]),
    )
