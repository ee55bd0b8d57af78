"""Authentication: users by Ed25519 tokens checked offline against JWKS, services by short HMAC tokens."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import jwt
from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer
from jwt.types import Options

from chassis.http.problems import ProblemError

ISSUER = "breakwater"
USER_AUDIENCE = "shop"
Now = Callable[[], float]  # seconds since the epoch, by the service's own clock
# Renewed after a third of its life, 5 of 15 minutes: the clocks of two services may differ by 10 minutes.
SERVICE_TOKEN_S = 900.0
KNOWN_TOKENS_MAX = 10_000
JWKS_RETRY_S = 1.0
# PyJWT uses the machine's clock, so `_expiry` checks the expiry by the service's own clock. `iat` is not checked
# (RFC 7519 does not require it): a new token would be "not yet valid" on a machine whose clock is behind.
_UNTIMED: Options = {"require": ["exp", "sub"], "verify_exp": False, "verify_iat": False}


class UnauthenticatedError(ProblemError):
    """The token is missing or invalid."""

    status = 401
    headers: ClassVar = {"WWW-Authenticate": 'Bearer realm="breakwater"'}


class ForbiddenError(ProblemError):
    """The token is valid, but its holder may not call this route."""

    status = 403


@dataclass(frozen=True, slots=True)
class User:
    """A verified user. `token` is the raw bearer token, to be passed on; `session` is the id of its log-in."""

    id: str
    email: str
    name: str
    token: str
    session: str = ""


class ServiceTokens:
    """Issues and checks the tokens that services send to each other."""

    def __init__(
        self, service: str, secret: str, now: Now = time.time, life_s: float = SERVICE_TOKEN_S
    ) -> None:
        self.service = service
        self._secret = secret
        self._life_s = life_s
        self._now = now
        self._issued: dict[str, tuple[float, str]] = {}

    def mint(self, callee: str) -> str:
        """A token for `callee`, reused for a third of its life unless the clock was set back."""
        now = self._now()
        issued_at, token = self._issued.get(callee, (-math.inf, ""))
        if not 0 <= now - issued_at < self._life_s / 3:
            expires = int(now + self._life_s)
            claims = {"iss": ISSUER, "sub": self.service, "aud": callee, "exp": expires}
            token = jwt.encode(claims, self._secret, algorithm="HS256")
            self._issued[callee] = (now, token)
        return token

    def check(self, token: str) -> tuple[str, float]:
        """The calling service and the token's expiry. Raises UnauthenticatedError."""
        try:
            claims = jwt.decode(
                token, self._secret, algorithms=["HS256"], audience=self.service, issuer=ISSUER,
                options=_UNTIMED,
            )  # fmt: skip
            return str(claims["sub"]), _expiry(claims, self._now())
        except jwt.PyJWTError as error:
            raise UnauthenticatedError(f"service token: {error}") from None


class UserTokens:
    """Checks user tokens against the public keys of the users service. An unknown key id fetches them again."""

    def __init__(
        self, fetch: Callable[[], Awaitable[dict[str, Any]]], now: Now = time.time
    ) -> None:
        self._fetch = fetch
        self._now = now
        self._keys: dict[str, Any] = {}
        self._lock = asyncio.Lock()
        self._fetched_at = -JWKS_RETRY_S

    def trust(self, jwks: dict[str, Any]) -> None:
        """Replace the known keys by these."""
        self._keys = {
            key.key_id: key.key for key in jwt.PyJWKSet.from_dict(jwks).keys if key.key_id
        }

    async def check(self, token: str) -> tuple[User, float]:
        """The user and the token's expiry.

        Raises UnauthenticatedError, or CallError if the key is unknown and users does not answer.
        """
        try:
            key_id = jwt.get_unverified_header(token).get("kid", "")
        except jwt.PyJWTError as error:
            raise UnauthenticatedError(f"token: {error}") from None
        if key_id not in self._keys:
            await self._refresh(key_id)
        try:
            claims = jwt.decode(
                token, self._keys[key_id], algorithms=["EdDSA"], audience=USER_AUDIENCE,
                issuer=ISSUER, options=_UNTIMED,
            )  # fmt: skip
            expires = _expiry(claims, self._now())
            names = ("sub", "email", "name", "sid")
            user_id, email, name, session = (str(claims.get(each, "")) for each in names)
            user = User(user_id, email, name, token, session)
        except (jwt.PyJWTError, KeyError) as error:
            reason = "unknown key" if isinstance(error, KeyError) else str(error)
            raise UnauthenticatedError(f"token: {reason}") from None
        return user, expires

    async def _refresh(self, key_id: str) -> None:
        async with self._lock:
            # at most one request to users per second, or forged key ids would become a flood of requests
            if key_id in self._keys or time.monotonic() - self._fetched_at < JWKS_RETRY_S:
                return
            self._fetched_at = time.monotonic()
            try:
                self.trust(await self._fetch())
            except BaseException:
                self._fetched_at = -JWKS_RETRY_S
                raise


class Authenticator:
    """Checks both kinds of token. Verified tokens are cached, up to a maximum number.

    `ended` is whether a session has ended: its tokens are refused.
    """

    def __init__(
        self,
        services: ServiceTokens,
        users: UserTokens,
        now: Now = time.time,
        ended: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self.services = services
        self.users = users
        self._now = now
        self._ended = ended
        self._known: dict[str, tuple[User | str, float]] = {}

    async def authenticate(self, authorization: str) -> User | str:
        """A User, or the name of a calling service, from an Authorization header. Raises UnauthenticatedError."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise UnauthenticatedError("an Authorization header with a Bearer token is required")
        principal = await self._verified(token)
        if isinstance(principal, User) and self._ended(principal.session):
            raise UnauthenticatedError("token: the session has ended; log in again")
        return principal

    async def _verified(self, token: str) -> User | str:
        known = self._known.get(token)
        if known is not None:
            principal, expires = known
            if expires > self._now():
                return principal
            del self._known[token]
            raise UnauthenticatedError("token: Signature has expired")
        checked: tuple[User | str, float]
        if _algorithm(token) == "HS256":
            checked = self.services.check(token)
        else:
            checked = await self.users.check(token)
        if len(self._known) >= KNOWN_TOKENS_MAX:
            self._known.clear()
        self._known[token] = checked
        return checked[0]


def _expiry(claims: dict[str, Any], now: float) -> float:
    """When the token expires, seconds since the epoch. Raises a PyJWTError if it has."""
    try:
        expires = float(claims["exp"])
    except (TypeError, ValueError):
        raise jwt.DecodeError("Expiration Time claim (exp) must be a number") from None
    if not expires > now:
        raise jwt.ExpiredSignatureError("Signature has expired")
    return expires


def _algorithm(token: str) -> str:
    try:
        return str(jwt.get_unverified_header(token).get("alg", ""))
    except jwt.PyJWTError as error:
        raise UnauthenticatedError(f"token: {error}") from None


class _Documented(HTTPBearer):
    """For the OpenAPI document only: `_caller` checks the token."""

    async def __call__(self) -> None:  # type: ignore[override]
        return None


_BEARER = _Documented(
    auto_error=False,
    bearerFormat="JWT",
    description="a user's or a service's token",
    scheme_name="HTTPBearer",
)


async def _caller(request: Request, _: Annotated[Any, Security(_BEARER)]) -> User | str:
    authenticator: Authenticator = request.app.state.service.auth
    return await authenticator.authenticate(request.headers.get("authorization", ""))


async def _user(caller: Annotated[User | str, Depends(_caller)]) -> User:
    if not isinstance(caller, User):
        raise ForbiddenError("this route requires a user's token, got a service's token")
    return caller


@dataclass(frozen=True, slots=True)
class CalledBy:
    """A route's dependency: these services may call it, with `users` any user too. All others get 403."""

    services: frozenset[str]
    users: bool = False

    async def __call__(self, caller: Annotated[User | str, Depends(_caller)]) -> User | str:
        if caller in self.services or (self.users and isinstance(caller, User)):
            return caller
        name = "a user" if isinstance(caller, User) else caller
        raise ForbiddenError(f"{name} may not call this route")


CurrentUser = Annotated[User, Depends(_user)]


def called_by(*services: str, users: bool = False) -> Any:
    """`Orders = Annotated[str, called_by("orders")]`: only orders may call the route, and no user.

    A token that another service sent, or lost, is of no use here. With `users` the caller can also be a User.
    """
    return Depends(CalledBy(frozenset(services), users))
