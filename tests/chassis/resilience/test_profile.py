"""From a plain table to the policies of an edge: profiles, switches, and clear errors."""

import contextlib
import itertools
import tomllib
from typing import Any

import pytest

from chassis.resilience import (
    PROFILES,
    CallFailedError,
    Event,
    FakeClock,
    ProfileError,
    build,
    off_for,
)
from chassis.resilience.profile import DEFAULTS, KINDS
from chassis.resilience.settings import SETTINGS
from tests.chassis.resilience.kit import EDGE, Bank, a_call, failed, ok

LADDER = ["none", "timeouts", "retries", "breaker", "full"]
EVERYTHING: dict[str, Any] = {kind: True for kind in KINDS}


def test_each_profile_includes_the_one_before() -> None:
    assert list(PROFILES) == LADDER
    for lower, higher in itertools.pairwise(LADDER):
        assert PROFILES[lower] < PROFILES[higher]


def test_full_composes_every_kind_outermost_first(clock: FakeClock) -> None:
    chain = build(EDGE, EVERYTHING, clock=clock)
    assert tuple(p.kind for p in chain) == tuple(k for k in KINDS if k != "budget")
    assert chain.kinds() == KINDS
    assert clock.run(chain.run(ok, a_call())) == "ok"


@pytest.mark.parametrize(("profile", "attempts"), [("none", 1), ("timeouts", 1), ("retries", 3)])
def test_a_profile_decides_which_policies_act(
    clock: FakeClock, profile: str, attempts: int
) -> None:
    chain = build(EDGE, {"profile": profile}, clock=clock)
    bank = Bank(clock, (0, failed()))

    async def main() -> None:
        with pytest.raises(CallFailedError):
            await chain.run(bank, a_call())

    clock.run(main())
    assert bank.calls == attempts


def storm(clock: FakeClock, chain: Any, calls: int, **details: Any) -> int:
    bank = Bank(clock, (0, failed()))

    async def main() -> None:
        for _ in range(calls):
            with contextlib.suppress(Exception):
                await chain.run(bank, a_call(**details))

    clock.run(main())
    return bank.calls


def test_retries_alone_cause_a_storm_and_the_full_profile_does_not(clock: FakeClock) -> None:
    spec = {"retry": {"max_attempts": 4}}
    assert storm(clock, build(EDGE, {**spec, "profile": "retries"}, clock=clock), 50) == 200
    assert storm(clock, build(EDGE, {**spec, "breaker": False}, clock=clock), 50) == 60


def test_one_call_can_have_its_own_profile(clock: FakeClock) -> None:
    chain = build(EDGE, {"profile": "retries", "retry": {"max_attempts": 4}}, clock=clock)
    assert storm(clock, chain, 10, disabled=off_for("none")) == 10
    assert storm(clock, chain, 10, disabled=off_for("retries")) == 40
    assert storm(clock, chain, 10) == 40
    up = storm(clock, chain, 50, disabled=off_for("full"))
    assert up < 50, "a call can also have more than the edge's profile"


def test_switches_and_profiles_change_at_run_time(clock: FakeClock) -> None:
    chain = build(EDGE, {}, clock=clock)
    chain.switch("breaker", False)
    chain.switch("budget", False)
    assert storm(clock, chain, 20) == 60
    chain.use("timeouts")
    assert storm(clock, chain, 20) == 20
    chain.use("full")
    chain.switch("breaker", True)
    assert storm(clock, chain, 50) < 50
    live = chain.snapshot()
    assert live["profile"] == "full"
    policies = live["policies"]
    assert isinstance(policies, list)
    states = {p["kind"]: p.get("state") for p in policies}
    assert states["breaker"] == "open"


def test_retries_and_hedges_have_separate_budgets(clock: FakeClock) -> None:
    chain = build(EDGE, {"hedge": True, "budget": {"capacity": 3}}, clock=clock)
    clock.run(chain.run(ok, a_call()))
    budgets = [getattr(chain.get(kind), "budget") for kind in ("retry", "hedge")]  # noqa: B009
    assert budgets == chain.budgets
    assert budgets[0] is not budgets[1]


def test_events_carry_the_edge(clock: FakeClock, events: list[Event]) -> None:
    spec = {**EVERYTHING, "rate_limiter": {"burst": 1000}, "throttle": False}
    storm(clock, build(EDGE, spec, clock=clock, listener=events.append), 30)
    assert {event.edge for event in events} == {EDGE}
    assert {"attempt", "evaluation", "transition", "rejection"} <= {e.kind for e in events}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"braker": {}}, r"payments->bank: unknown key 'braker'.*did you mean breaker"),
        (
            {"breaker": {"minimum_call": 5}},
            r"payments->bank: unknown key breaker.minimum_call.*did you mean minimum_calls",
        ),
        (
            {"breaker": {"window": "COUNT"}},
            r"breaker.window is 'COUNT'; expected one of COUNT_BASED, TIME_BASED",
        ),
        ({"timeout": {"seconds": "2"}}, r"timeout.seconds must be a number .*got '2'"),
        ({"timeout": {"seconds": True}}, r"timeout.seconds must be a number .*got True"),
        ({"timeout": {"seconds": -1}}, r"payments->bank: timeout.seconds must be > 0, got -1"),
        ({"retry": {"max_attempts": 1.5}}, r"retry.max_attempts must be a whole number"),
        ({"retry": 3}, r"retry must be a table or true or false, got 3"),
        ({"profile": "ful"}, r"payments->bank: unknown profile 'ful'.*did you mean full"),
        ({"profile": ["full"]}, r"payments->bank: unknown profile"),
        ({"throttle": {"k": 0.5}}, r"throttle.k must be >= 1"),
        (
            {"breaker": {"failure_rate_threshold": 50}},
            r"breaker.failure_rate_threshold must be in \(0, 1\], got 50",
        ),
    ],
)
def test_a_wrong_setting_is_named_with_the_expected_values(
    spec: dict[str, Any], message: str
) -> None:
    with pytest.raises(ProfileError, match=message):
        build(EDGE, spec)


def test_switching_an_absent_policy_names_the_available_ones(clock: FakeClock) -> None:
    with pytest.raises(ProfileError, match="no policy 'hedge' here; expected one of retry"):
        build(EDGE, {}, clock=clock).switch("hedge", True)


def test_every_setting_is_accepted_and_explained() -> None:
    samples = {"window": "TIME_BASED", "algorithm": "aimd", "quantile": 0.9, "deposit": 0.2}
    samples |= {"failure_rate_threshold": 0.5, "slow_call_rate_threshold": 0.5}
    for kind, settings in SETTINGS.items():
        for name, setting in settings.items():
            assert setting.meaning
            build(EDGE, {kind: {name: samples.get(name, 20)}})
    for kind, defaults in DEFAULTS.items():
        assert set(defaults) <= set(SETTINGS[kind])


def test_a_toml_table_is_enough(clock: FakeClock) -> None:
    spec = tomllib.loads(
        """
        ["payments->bank"]
        profile = "breaker"
        hedge = true
        bulkhead = false
        timeout = { seconds = 2 }
        breaker = { window = "TIME_BASED", window_size = 10, failure_rate_threshold = 0.25 }
        """
    )[EDGE]
    chain = build(EDGE, spec, clock=clock)
    assert [p.kind for p in chain] == ["retry", "breaker", "hedge", "timeout"]
    assert chain.off == frozenset(KINDS) - PROFILES["breaker"]
