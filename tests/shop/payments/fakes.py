"""A fake bank that can be slow, fail or lose answers, and a store that survives crashes; both in memory."""

from collections.abc import Callable, Set
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import Enum, auto

from chassis.http.idempotency import KeyUse
from shop.payments.domain import (
    ACCEPTED_IN,
    Authorization,
    BankRefusedError,
    NoBankAnswerError,
    Operation,
    Outcome,
    Payment,
    Purchase,
    Status,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DECLINED_CARD = "4000000000000002"
Effect = Callable[[], Authorization | None]


class Behaviour(Enum):
    """The outcome of one call to the bank."""

    NORMAL = auto()
    NOT_SENT = auto()  # definite: the call is not sent
    LOST_CALL = auto()  # the call is lost; it times out
    LOST_ANSWER = auto()  # the bank acts; the call times out
    LATE = auto()  # the call times out and arrives later
    CRASH = auto()  # the bank acts; the process crashes before the answer


class Crashed(BaseException):
    """The process ends here: no handler may run."""


@dataclass
class FakeBank:
    """`Bank` with a ledger of (reference, kind, key). It honours keys and cancelled references."""

    behaviour: Behaviour = Behaviour.NORMAL
    deaf: bool = False  # reads fail too
    held: dict[str, Authorization] = field(default_factory=dict)  # by reference
    ledger: list[tuple[str, str, str]] = field(default_factory=list)
    late: list[Effect] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    _by_key: dict[str, Authorization | None] = field(default_factory=dict)
    _cancelled: set[str] = field(default_factory=set)

    async def authorize(self, purchase: Purchase, key: str) -> Authorization:
        def effect() -> Authorization:
            reference = purchase.order_id
            if reference in self._cancelled:
                raise BankRefusedError("cancelled")
            declined = purchase.card_number == DECLINED_CARD
            status = "declined" if declined else "authorized"
            self.held[reference] = Authorization(
                f"bank-{reference}", status, reason="card_declined" if declined else ""
            )
            if not declined:
                self.ledger.append((reference, "authorize", key))
            return self.held[reference]

        return _known(await self._call("authorize", key, effect))

    async def change(self, operation: Operation, authorization_id: str, key: str) -> Authorization:
        reference = authorization_id.removeprefix("bank-")
        return _known(
            await self._call(operation, key, lambda: self._moved(reference, operation, key))
        )

    async def cancel(self, reference: str, key: str) -> Authorization | None:
        def effect() -> Authorization | None:
            held = self.held.get(reference)
            if held is not None and held.status == "authorized":
                self._moved(reference, "void", key)
            elif held is not None and held.status not in ("voided", "declined"):
                raise BankRefusedError(held.status)
            self._cancelled.add(reference)
            return self.held.get(reference)

        return await self._call("cancel", key, effect)

    async def of_reference(self, reference: str) -> list[Authorization]:
        if self.deaf:
            raise NoBankAnswerError(definite=False)
        return [self.held[reference]] if reference in self.held else []

    def deliver_late(self) -> None:
        """The calls in flight arrive now."""
        late, self.late = self.late, []
        for effect in late:
            try:
                effect()
            except BankRefusedError:
                continue

    def captures(self, reference: str) -> int:
        return sum(entry[:2] == (reference, "capture") for entry in self.ledger)

    def _moved(self, reference: str, kind: str, key: str) -> Authorization:
        before = self.held[reference]
        moves = {
            "capture": ({"authorized", "captured"}, replace(before, status="captured",
                captured_cents=before.captured_cents + 500)),
            "void": ({"authorized"}, replace(before, status="voided")),
            "refund": ({"captured"}, replace(before, status="refunded", refunded_cents=500)),
        }  # fmt: skip
        allowed, after = moves[kind]
        if before.status not in allowed:
            raise BankRefusedError(before.status)
        self.held[reference] = after
        self.ledger.append((reference, kind, key))
        return after

    async def _call(self, kind: str, key: str, effect: Effect) -> Authorization | None:
        self.calls.append(kind)

        def once() -> Authorization | None:
            if key not in self._by_key:
                self._by_key[key] = effect()
            return self._by_key[key]

        match self.behaviour:
            case Behaviour.NORMAL:
                return once()
            case Behaviour.NOT_SENT:
                raise NoBankAnswerError(definite=True, retry_after_s=3.0)
            case Behaviour.LATE:
                self.late.append(once)
            case Behaviour.LOST_ANSWER | Behaviour.CRASH:
                with suppress(BankRefusedError):  # this answer is lost too
                    once()
        if self.behaviour is Behaviour.CRASH:
            raise Crashed
        raise NoBankAnswerError(definite=False)


def _known(answer: Authorization | None) -> Authorization:
    assert answer is not None
    return answer


@dataclass
class FakeStore:
    """`Store` in memory; `calls` are (order_id, operation, key, outcome)."""

    payments: dict[str, Payment] = field(default_factory=dict)
    calls: list[tuple[str, Operation, str, Outcome]] = field(default_factory=list)

    async def get(self, order_id: str, use: KeyUse | None = None) -> Payment | None:
        return self.payments.get(order_id)

    async def begin_new(
        self, payment: Payment, operation: Operation, key: str, now: datetime, use: KeyUse | None
    ) -> int | None:
        if payment.order_id in self.payments:
            return None
        self.payments[payment.order_id] = payment
        return await self.begin(payment, operation, payment.status, key, now)

    async def open_voided(self, order_id: str, payment_id: str, now: datetime) -> Payment:
        stone = Payment(payment_id, order_id, None, Status.VOIDED, 0, "")
        return self.payments.setdefault(order_id, stone)

    async def begin(
        self, payment: Payment, operation: Operation, during: Status, key: str, now: datetime
    ) -> int | None:
        current = self.payments[payment.order_id]
        if current.status is not payment.status:
            return None
        self.payments[payment.order_id] = replace(current, status=during)
        self.calls.append((payment.order_id, operation, key, Outcome.ASKED))
        return len(self.calls) - 1

    async def end(self, call_id: int, outcome: Outcome) -> None:
        self.calls[call_id] = (*self.calls[call_id][:3], outcome)

    async def settle(
        self, order_id: str, status: Status, answer: Authorization | None, now: datetime,
        call: tuple[int, Outcome] | None = None, ends: Set[Status] = frozenset(),
        use: KeyUse | None = None,
    ) -> Payment:  # fmt: skip
        if call:
            await self.end(*call)
        answer = answer or Authorization("", "")
        before = self.payments[order_id]
        after = replace(
            before,
            status=status if before.status in ACCEPTED_IN[status] else before.status,
            authorization_id=before.authorization_id or answer.id or None,
            captured_cents=max(before.captured_cents, answer.captured_cents),
            refunded_cents=max(before.refunded_cents, answer.refunded_cents),
            reason=before.reason or answer.reason,
        )
        self.payments[order_id] = after
        return after

    async def may_have_reached_bank(self, order_id: str, operation: Operation) -> bool:
        return any(
            call[:2] == (order_id, operation) and call[3] is not Outcome.NOT_SENT
            for call in self.calls
        )
