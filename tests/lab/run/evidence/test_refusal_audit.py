"""The lab's forged tokens: the shop's own check accepts the control and refuses each of the others."""

import time
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chassis.http.auth import UnauthenticatedError, UserTokens
from lab.run.evidence.refusal_audit import forged_tokens
from shop.users.keys import SigningKey


async def test_only_the_control_is_a_good_token() -> None:
    signs = SigningKey.new(datetime.now(UTC))
    key = {"kid": signs.kid, "secret": signs.secret}
    user = {"user_id": "u1", "email": "a@example.com", "name": "Ann"}

    async def jwks() -> dict[str, Any]:
        return {"keys": [signs.public_jwk()]}

    control, *forged = forged_tokens(key, user, time.time()).items()
    checked, _ = await UserTokens(jwks).check(control[1])
    assert (control[0], checked.id) == ("good token", "u1")
    assert len(forged) == 4
    for _, token in forged:
        with pytest.raises(UnauthenticatedError):
            await UserTokens(jwks).check(token)


def test_a_key_is_read_as_raw_bytes() -> None:
    secret = Ed25519PrivateKey.generate().private_bytes_raw()
    tokens = forged_tokens(
        {"kid": "k", "secret": secret}, {"user_id": "u", "email": "", "name": ""}, 0.0
    )
    assert len(set(tokens.values())) == len(tokens) == 5
