"""The Ed25519 keys that sign user tokens: the current key, the published keys and their rotation.

A key is published before it signs, so that every verifier has it in time. It stays published until the
last token that it signed has expired. Several instances share the keys through the database.
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm

from chassis.http.auth import ISSUER, USER_AUDIENCE
from shop.users.domain import User

ROTATION = timedelta(days=30)
PUBLISHED_AHEAD = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """`secret` is the raw 32-byte private key. It signs from `signs_from` on."""

    kid: str
    secret: bytes
    signs_from: datetime

    @classmethod
    def new(cls, signs_from: datetime) -> "SigningKey":
        private = Ed25519PrivateKey.generate()
        public = private.public_key().public_bytes_raw()
        kid = base64.urlsafe_b64encode(public).decode().rstrip("=")[:16]
        return cls(kid, private.private_bytes_raw(), signs_from)

    @property
    def private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.secret)

    def public_jwk(self) -> dict[str, Any]:
        jwk: dict[str, Any] = json.loads(OKPAlgorithm.to_jwk(self.private.public_key()))
        return {**jwk, "kid": self.kid, "use": "sig", "alg": "EdDSA"}


def current(keys: Sequence[SigningKey], now: datetime) -> SigningKey | None:
    """The newest key that already signs; the first key if the clock was set back before all of them."""
    started = [key for key in keys if key.signs_from <= now]
    first = min(keys, key=lambda key: key.signs_from, default=None)
    return max(started, key=lambda key: key.signs_from, default=first)


def published(keys: Sequence[SigningKey], now: datetime, token_life: timedelta) -> list[SigningKey]:
    """The current key, later keys, and older keys whose tokens may still be valid."""
    ordered = sorted(keys, key=lambda key: key.signs_from)
    successors = [*ordered[1:], None]
    return [
        key
        for key, successor in zip(ordered, successors, strict=True)
        if successor is None or successor.signs_from + token_life >= now
    ]


def successor(keys: Sequence[SigningKey], now: datetime, rotation: timedelta) -> SigningKey | None:
    """The key to add now, if one is due. The first signs at once, a later one after its publication."""
    newest = max(keys, key=lambda key: key.signs_from, default=None)
    if newest is None:
        return SigningKey.new(now)
    takes_over = newest.signs_from + rotation
    if now < takes_over - PUBLISHED_AHEAD:
        return None
    return SigningKey.new(max(takes_over, now + PUBLISHED_AHEAD))


class KeyRing:
    """The keys in memory: signs tokens that are valid for `life_s` seconds and returns the public keys."""

    def __init__(self, life_s: int) -> None:
        self.life_s = life_s
        self._keys: list[SigningKey] = []
        self._private: dict[str, Ed25519PrivateKey] = {}

    def load(self, keys: Sequence[SigningKey]) -> None:
        self._keys = list(keys)
        self._private = {key.kid: key.private for key in keys}

    def sign(self, user: User, session_id: str, now: datetime) -> str:
        """A JWT with the claims of docs/architecture.md. Raises LookupError before the first load."""
        key = current(self._keys, now)
        if key is None:
            raise LookupError("no signing key is valid yet")
        claims = {
            "sub": user.id,
            "sid": session_id,
            "email": user.email,
            "name": user.name,
            "iss": ISSUER,
            "aud": USER_AUDIENCE,
            "iat": int(now.timestamp()),
            "exp": int(now.timestamp()) + self.life_s,
        }
        return jwt.encode(claims, self._private[key.kid], "EdDSA", headers={"kid": key.kid})

    def jwks(self, now: datetime) -> dict[str, Any]:
        shown = published(self._keys, now, timedelta(seconds=self.life_s))
        return {"keys": [key.public_jwk() for key in shown]}
