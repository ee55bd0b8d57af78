"""Accounts and sessions: registration, login and the life of a session. No I/O."""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar, Protocol

from chassis.clock import Clock
from chassis.http.client_limits import ClientLimits
from chassis.http.idempotency import Stored
from contracts.address import is_address

NAME_LENGTH_MAX = 100
PASSWORD_LENGTH_MIN = 8  # NIST SP 800-63B-4: require a length, not a composition
PASSWORD_LENGTH_MAX = 128
SESSION_LIFE = timedelta(days=14)
# Refused log-ins of one account; NIST SP 800-63B-4 requires a limit.
REFUSED_PER_S = 1.0
REFUSED_BURST = 20.0


class EmailTakenError(Exception):
    """Another account has this address."""


class BadCredentialsError(Exception):
    """Unknown address or wrong password. The answer does not reveal which."""

    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": 'Bearer realm="breakwater"'}


class BadRefreshTokenError(Exception):
    """Unknown, expired or used before. A second use ends the whole session."""

    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": 'Bearer realm="breakwater"'}


class TooBusyError(Exception):
    """Too many password checks are waiting. Definite: nothing was done."""

    extra: ClassVar[dict[str, bool]] = {"definite": True}
    retry_after_s = 1.0


@dataclass(frozen=True, slots=True)
class User:
    id: str
    email: str
    name: str


@dataclass(frozen=True, slots=True)
class Account:
    """A user with the hash of their password."""

    user: User
    password_hash: str


@dataclass(frozen=True, slots=True)
class Session:
    """One login. Only the digest of its newest refresh token is stored."""

    id: str
    user_id: str
    token_digest: bytes
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of a login. `expires_in_s` is the life of the access token."""

    access_token: str
    refresh_token: str
    expires_in_s: int


class UserStore(Protocol):
    async def register(
        self, user: User, password_hash: str, created_at: datetime, key: str, body: dict[str, Any]
    ) -> Stored:
        """Store the account and its event once per `key`. Raises EmailTakenError."""

    async def account(self, email: str) -> Account | None: ...

    async def user(self, user_id: str) -> User | None: ...

    async def open_session(self, session: Session, now: datetime) -> None: ...

    async def rotate_session(
        self, session_id: str, old: bytes, new: bytes, now: datetime
    ) -> User | None:
        """Replace the token's digest. If `old` is not the newest, delete the session and return None."""

    async def end_session(self, session_id: str) -> None: ...

    async def delete_user(self, user_id: str) -> User | None:
        """Delete the account with its sessions."""


class Passwords(Protocol):
    async def hash(self, password: str) -> str: ...

    async def matches(self, password_hash: str | None, password: str) -> bool:
        """Takes the same time with and without a hash."""


class TokenSigner(Protocol):
    life_s: int

    def sign(self, user: User, session_id: str, now: datetime) -> str: ...


def normalise_email(text: str) -> str:
    """`' Ann@Example.COM '` -> `'ann@example.com'`. Raises ValueError with what is expected."""
    email = text.strip().lower()
    if not is_address(email):
        raise ValueError("expected an e-mail address such as ann@example.com")
    return email


def clean_name(text: str) -> str:
    """The name without surrounding blanks. Raises ValueError with what is expected."""
    name = text.strip()
    if not 1 <= len(name) <= NAME_LENGTH_MAX or not name.isprintable():
        raise ValueError(f"expected 1 to {NAME_LENGTH_MAX} printable characters")
    return name


def split_refresh_token(token: str) -> tuple[str, bytes]:
    """`<session id>.<secret>` -> the id and the secret's digest. Raises BadRefreshTokenError."""
    session_id, dot, secret = token.partition(".")
    if not (dot and session_id and secret and token.isascii() and token.isprintable()):
        raise BadRefreshTokenError("this is not a refresh token")
    # the secret has 256 random bits, so a fast hash is safe
    return session_id, hashlib.sha256(secret.encode()).digest()


class Users:
    """The use cases. `secret` returns a random secret."""

    def __init__(
        self,
        store: UserStore,
        passwords: Passwords,
        tokens: TokenSigner,
        clock: Clock,
        new_id: Callable[[], str],
        secret: Callable[[], str] = lambda: secrets.token_urlsafe(32),
    ) -> None:
        self._store = store
        self._passwords = passwords
        self._tokens = tokens
        self._clock = clock
        self._new_id = new_id
        self._secret = secret
        self._refused = ClientLimits(REFUSED_PER_S, REFUSED_BURST, clock)

    async def register(self, email: str, name: str, password: str, key: str) -> Stored:
        """201 and the user, the same answer for the same key. Raises EmailTakenError, TooBusyError."""
        body = {"email": email, "name": name, "password": password}  # stored as a keyed digest only
        # hashed before the transaction: 30 ms of CPU must not hold a connection
        password_hash = await self._passwords.hash(password)
        user = User(self._new_id(), email, name)
        return await self._store.register(user, password_hash, self._clock.now(), key, body)

    async def login(self, email: str, password: str) -> Tokens:
        """A new session. Raises BadCredentialsError, TooBusyError, TooManyRequestsError."""
        self._refused.check(email)
        account = await self._store.account(email)
        known = account.password_hash if account else None
        if not await self._passwords.matches(known, password) or account is None:
            self._refused.take(email)
            raise BadCredentialsError("unknown e-mail address or wrong password")
        now = self._clock.now()
        session_id, secret = self._secret(), self._secret()
        token = f"{session_id}.{secret}"
        _, digest = split_refresh_token(token)
        session = Session(session_id, account.user.id, digest, now + SESSION_LIFE)
        await self._store.open_session(session, now)
        return self._issue(account.user, token, now)

    async def refresh(self, refresh_token: str) -> Tokens:
        """New tokens for the newest refresh token; an older one ends the session. Raises BadRefreshTokenError."""
        session_id, old = split_refresh_token(refresh_token)
        token = f"{session_id}.{self._secret()}"
        _, new = split_refresh_token(token)
        now = self._clock.now()
        user = await self._store.rotate_session(session_id, old, new, now)
        if user is None:
            raise BadRefreshTokenError(
                "unknown, expired or already used refresh token; log in again"
            )
        return self._issue(user, token, now)

    async def profile(self, user_id: str) -> User:
        """The current user. Raises BadCredentialsError if the account was deleted."""
        return _existing(await self._store.user(user_id))

    async def log_out(self, session_id: str) -> None:
        """End the session; every service refuses its tokens. An ended session stays ended."""
        await self._store.end_session(session_id)

    async def delete_account(self, user_id: str) -> User:
        """Delete the account and end its sessions; the user who was deleted. Raises BadCredentialsError."""
        return _existing(await self._store.delete_user(user_id))

    def _issue(self, user: User, refresh_token: str, now: datetime) -> Tokens:
        session_id, _, _ = refresh_token.partition(".")
        access_token = self._tokens.sign(user, session_id, now)
        return Tokens(access_token, refresh_token, self._tokens.life_s)


def _existing(user: User | None) -> User:
    if user is None:
        raise BadCredentialsError("the account of this token no longer exists")
    return user
