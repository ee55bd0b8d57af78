"""Who is asking: users by Ed25519 tokens checked offline against JWKS, services by short HMAC tokens."""

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
# Renewed after five minutes, good for fifteen: so the clocks of two services may be ten minutes apart.
SERVICE_TOKEN_S = 900
SERVICE_TOKEN_RENEWED_S = 300
KNOWN_TOKENS_MAX = 10_000
JWKS_RETRY_S = 1.0
# PyJWT reads the machine's clock; expiry is checked by `_expiry` on the service's own. `iat` is no reason to
# refuse (RFC 7519): a user's fresh token would be "not yet valid" wherever the clock is a second behind.
_UNTIMED: Options = {"require": ["exp", "sub"], "verify_exp": False, "verify_iat": False}


class UnauthenticatedError(ProblemError):
    """No token, or one that does not hold."""

    status = 401
    headers: ClassVar = {"WWW-Authenticate": 'Bearer realm="breakwater"'}


class ForbiddenError(ProblemError):
    """A good token of the wrong kind."""

    status = 403


@dataclass(frozen=True, slots=True)
class User:
    """A verified user; `token` is the raw bearer token, to pass on."""

    id: str
    email: str
    name: str
    token: str


class ServiceTokens:
    """Mints and checks the tokens that services show each other."""

    def __init__(self, service: str, secret: str, now: Now = time.time) -> None:
        self.service = service
        self._secret = secret
        self._now = now
        self._minted: dict[str, tuple[float, str]] = {}

    def mint(self, callee: str) -> str:
        """A token for `callee`, reused for five minutes, and not if our clock was set back since."""
        now = self._now()
        minted, token = self._minted.get(callee, (-math.inf, ""))
        if not 0 <= now - minted < SERVICE_TOKEN_RENEWED_S:
            expires = int(now + SERVICE_TOKEN_S)
            claims = {"iss": ISSUER, "sub": self.service, "aud": callee, "exp": expires}
            token = jwt.encode(claims, self._secret, algorithm="HS256")
            self._minted[callee] = (now, token)
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
    """Checks user tokens against the public keys of users, fetched once and again for a new key id."""

    def __init__(
        self, fetch: Callable[[], Awaitable[dict[str, Any]]], now: Now = time.time
    ) -> None:
        self._fetch = fetch
        self._now = now
        self._keys: dict[str, Any] = {}
        self._lock = asyncio.Lock()
        self._fetched_at = -JWKS_RETRY_S

    def trust(self, jwks: dict[str, Any]) -> None:
        """Take these keys as the current ones."""
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
            user = User(
                str(claims["sub"]), str(claims.get("email", "")), str(claims.get("name", "")), token
            )
        except (jwt.PyJWTError, KeyError) as error:
            reason = "unknown key" if isinstance(error, KeyError) else str(error)
            raise UnauthenticatedError(f"token: {reason}") from None
        return user, expires

    async def _refresh(self, key_id: str) -> None:
        async with self._lock:
            # forged key ids must not become requests to users: at most one look-up a second
            if key_id in self._keys or time.monotonic() - self._fetched_at < JWKS_RETRY_S:
                return
            self._fetched_at = time.monotonic()
            try:
                self.trust(await self._fetch())
            except BaseException:
                self._fetched_at = -JWKS_RETRY_S
                raise


class Authenticator:
    """Both kinds of token, with a bounded memory of those already verified."""

    def __init__(self, services: ServiceTokens, users: UserTokens, now: Now = time.time) -> None:
        self.services = services
        self.users = users
        self._now = now
        self._known: dict[str, tuple[User | str, float]] = {}

    async def authenticate(self, authorization: str) -> User | str:
        """A User, or the name of a calling service, from an Authorization header."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise UnauthenticatedError("this needs an Authorization header with a Bearer token")
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


# for the OpenAPI document; who is asking is found out below
_BEARER = HTTPBearer(
    auto_error=False, bearerFormat="JWT", description="a user's or a service's token"
)


async def _caller(request: Request, _: Annotated[Any, Security(_BEARER)]) -> User | str:
    authenticator: Authenticator = request.app.state.service.auth
    return await authenticator.authenticate(request.headers.get("authorization", ""))


async def _user(caller: Annotated[User | str, Depends(_caller)]) -> User:
    if not isinstance(caller, User):
        raise ForbiddenError("this is for users; a service's token was given")
    return caller


async def _service(caller: Annotated[User | str, Depends(_caller)]) -> str:
    if isinstance(caller, User):
        raise ForbiddenError("this is for services; a user's token was given")
    return caller


Caller = Annotated[User | str, Depends(_caller)]
CurrentUser = Annotated[User, Depends(_user)]
CallingService = Annotated[str, Depends(_service)]
