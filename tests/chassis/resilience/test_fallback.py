"""Fallback: a value, a function or a stale answer, for the named errors only."""

import pytest

from chassis.resilience import Call, CallFailedError, Event, FakeClock, Fallback, StaleFallback
from tests.chassis.resilience.kit import Bank, a_call, boom, failed, ok


def test_a_value_replaces_the_answer(clock: FakeClock, events: list[Event]) -> None:
    fallback = Fallback("pending", clock=clock, listener=events.append)
    assert clock.run(fallback.run(boom, a_call())) == "pending"
    assert [(e.kind, e.reason) for e in events] == [("fallback", "CallFailed")]


def test_a_good_answer_needs_no_fallback(clock: FakeClock) -> None:
    assert clock.run(Fallback("pending", clock=clock).run(ok, a_call())) == "ok"


def test_functions_sync_and_async_get_call_and_error(clock: FakeClock) -> None:
    async def later(call: Call, error: Exception) -> str:
        await clock.sleep(1)
        return f"{call.edge} {error}"

    assert clock.run(Fallback(function=later, clock=clock).run(boom, a_call())) == (
        "payments->bank boom"
    )
    now = Fallback(function=lambda call, error: "now", clock=clock)
    assert clock.run(now.run(boom, a_call())) == "now"


def test_other_errors_pass(clock: FakeClock) -> None:
    async def main() -> None:
        bank = Bank(clock, (0, ZeroDivisionError()))
        with pytest.raises(ZeroDivisionError):
            await Fallback("pending", clock=clock).run(bank, a_call())

    clock.run(main())


def test_stale_answers_are_found_by_key_and_age_out(clock: FakeClock) -> None:
    stale = StaleFallback(age_s_max=60, clock=clock)
    bank = Bank(clock, (0, "mug"), (0, "cup"), (0, failed()))

    async def main() -> None:
        await stale.run(bank, a_call(operation="/products/{id}", key="1"))
        await stale.run(bank, a_call(operation="/products/{id}", key="2"))
        await clock.sleep(60)
        assert await stale.run(bank, a_call(operation="/products/{id}", key="1")) == "mug"
        assert await stale.run(bank, a_call(operation="/products/{id}", key="2")) == "cup"
        for never_seen in ("3", ""):
            with pytest.raises(CallFailedError):
                await stale.run(bank, a_call(operation="/products/{id}", key=never_seen))
        await clock.sleep(0.1)
        with pytest.raises(CallFailedError):
            await stale.run(bank, a_call(operation="/products/{id}", key="1"))

    clock.run(main())


def test_stale_answers_are_bounded_in_number(clock: FakeClock) -> None:
    stale = StaleFallback(entries_max=3, clock=clock)

    async def main() -> None:
        for key in "abcd":
            await stale.run(ok, a_call(key=key))

    clock.run(main())
    assert stale.snapshot()["entries"] == 3
