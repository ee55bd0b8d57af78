"""The rules of accounts and sessions, with fakes."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chassis.clock import SystemClock
from chassis.http.client_limits import TooManyRequestsError
from chassis.http.idempotency import Stored
from shop.users.domain import (
    REFUSED_BURST,
    SESSION_LIFE,
    Account,
    BadCredentialsError,
    BadRefreshTokenError,
    EmailTakenError,
    Session,
    User,
    Users,
    clean_name,
    normalise_email,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class FakeClock(SystemClock):
    def __init__(self) -> None:
        self.time = NOON

    def now(self) -> datetime:
        return self.time


class FakeStore:
    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.sessions: dict[str, Session] = {}
        self.bodies: list[dict[str, Any]] = []

    async def register(
        self, user: User, password_hash: str, created_at: datetime, key: str, body: dict[str, Any]
    ) -> Stored:
        if user.email in self.accounts:
            raise EmailTakenError(user.email)
        self.bodies.append(body)
        self.accounts[user.email] = Account(user, password_hash)
        return Stored.of(201, {"id": user.id})

    async def account(self, email: str) -> Account | None:
        return self.accounts.get(email)

    async def user(self, user_id: str) -> User | None:
        return next((a.user for a in self.accounts.values() if a.user.id == user_id), None)

    async def open_session(self, session: Session, now: datetime) -> None:
        self.sessions[session.id] = session

    async def rotate_session(
        self, session_id: str, old: bytes, new: bytes, now: datetime
    ) -> User | None:
        session = self.sessions.pop(session_id, None)
        if session is None or session.token_digest != old or session.expires_at <= now:
            return None
        self.sessions[session_id] = replace(session, token_digest=new)
        return await self.user(session.user_id)

    async def end_session(self, session_id: str) -> None:
        self.sessions.pop(session_id, None)

    async def delete_user(self, user_id: str) -> User | None:
        user = await self.user(user_id)
        if user is not None:
            del self.accounts[user.email]
        return user


class FakePasswords:
    def __init__(self) -> None:
        self.checks = 0

    async def hash(self, password: str) -> str:
        return f"hash of {password}"

    async def matches(self, password_hash: str | None, password: str) -> bool:
        self.checks += 1
        return password_hash == f"hash of {password}"


class FakeSigner:
    life_s = 900

    def sign(self, user: User, session_id: str, now: datetime) -> str:
        return f"token of {user.id} in {session_id}"


class Shop:
    def __init__(self) -> None:
        self.store, self.passwords, self.clock = FakeStore(), FakePasswords(), FakeClock()
        secrets = (f"secret{n}" for n in itertools.count())
        ids = (f"user{n}" for n in itertools.count())
        self.users = Users(
            self.store, self.passwords, FakeSigner(), self.clock,
            lambda: next(ids), lambda: next(secrets),
        )  # fmt: skip


@pytest.fixture
async def shop() -> Shop:
    shop = Shop()
    await shop.users.register("ann@example.com", "Ann", "a long passphrase", "k1")
    return shop


async def test_a_login_returns_both_tokens_and_stores_only_a_digest(shop: Shop) -> None:
    grant = await shop.users.login("ann@example.com", "a long passphrase")
    session_id, _, secret = grant.refresh_token.partition(".")
    assert grant.access_token == f"token of user0 in {session_id}"
    assert grant.expires_in_s == 900
    kept = shop.store.sessions[session_id]
    assert kept.expires_at == NOON + SESSION_LIFE
    assert secret.encode() not in kept.token_digest


async def test_a_wrong_password_and_an_unknown_address_fail_alike_and_take_as_long(
    shop: Shop,
) -> None:
    with pytest.raises(BadCredentialsError) as wrong:
        await shop.users.login("ann@example.com", "wrong")
    with pytest.raises(BadCredentialsError) as unknown:
        await shop.users.login("bob@example.com", "wrong")
    assert str(wrong.value) == str(unknown.value)
    assert shop.passwords.checks == 2
    assert not shop.store.sessions


async def test_guesses_at_one_account_are_limited_and_cost_no_check(shop: Shop) -> None:
    for _ in range(int(REFUSED_BURST)):
        with pytest.raises(BadCredentialsError):
            await shop.users.login("ann@example.com", "wrong")
    checks = shop.passwords.checks
    with pytest.raises(TooManyRequestsError):
        await shop.users.login("ann@example.com", "a long passphrase")
    assert shop.passwords.checks == checks
    with pytest.raises(BadCredentialsError):  # another account has its own limit
        await shop.users.login("bob@example.com", "wrong")


async def test_each_refresh_returns_a_new_token_of_the_same_session(shop: Shop) -> None:
    grant = await shop.users.login("ann@example.com", "a long passphrase")
    for _ in range(3):
        renewed = await shop.users.refresh(grant.refresh_token)
        assert renewed.refresh_token != grant.refresh_token
        assert renewed.refresh_token.partition(".")[0] == grant.refresh_token.partition(".")[0]
        grant = renewed


async def test_a_session_ends_after_its_life_even_if_it_is_refreshed(shop: Shop) -> None:
    grant = await shop.users.login("ann@example.com", "a long passphrase")
    shop.clock.time += SESSION_LIFE - timedelta(seconds=1)
    grant = await shop.users.refresh(grant.refresh_token)
    shop.clock.time += timedelta(seconds=2)
    with pytest.raises(BadRefreshTokenError):
        await shop.users.refresh(grant.refresh_token)


@pytest.mark.parametrize("token", ["", ".", "a.", ".b", "no dot", "é.x", "a.b\n"])
async def test_an_invalid_refresh_token_never_reaches_the_store(shop: Shop, token: str) -> None:
    shop.store.sessions = None  # type: ignore[assignment]
    with pytest.raises(BadRefreshTokenError):
        await shop.users.refresh(token)


async def test_a_token_of_a_deleted_account_is_refused(shop: Shop) -> None:
    with pytest.raises(BadCredentialsError):
        await shop.users.profile("unknown")


@pytest.mark.parametrize(
    ("text", "email"),
    [
        (" Ann@Example.COM ", "ann@example.com"),
        ("o'hara+tag@mail.example.com", "o'hara+tag@mail.example.com"),
    ],
)
def test_addresses_are_compared_in_lower_case_without_blanks(text: str, email: str) -> None:
    assert normalise_email(text) == email


@pytest.mark.parametrize(
    "text", ["", "ann", "@example.com", "ann@", "ann@example", "a b@example.com", "a@b@example.com"]
)
def test_an_invalid_address_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"such as ann@example\.com"):
        normalise_email(text)


def test_names_keep_their_letters_and_lose_surrounding_blanks() -> None:
    assert clean_name("  Zoë Ångström ") == "Zoë Ångström"
    for bad in ("", "   ", "a\x00b", "a\nb", "x" * 101):
        with pytest.raises(ValueError, match="printable"):
            clean_name(bad)


async def test_a_deleted_account_is_gone(shop: Shop) -> None:
    deleted = await shop.users.delete_account("user0")
    assert deleted.email == "ann@example.com"
    for use in (shop.users.profile, shop.users.delete_account):
        with pytest.raises(BadCredentialsError):
            await use("user0")
