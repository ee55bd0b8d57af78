"""Rotation of signing keys: published before they sign, until their last token has expired."""

from datetime import UTC, datetime, timedelta

import jwt
import pytest

from shop.users.domain import User
from shop.users.keys import PUBLISHED_AHEAD, KeyRing, SigningKey, current, published, successor

NOW = datetime.now(UTC).replace(microsecond=0)
ROTATION = timedelta(days=30)
LIFE = timedelta(minutes=15)
ANN = User("user-1", "ann@example.com", "Ann")


def test_the_first_key_signs_at_once() -> None:
    first = successor([], NOW, ROTATION)
    assert first is not None
    assert current([first], NOW) is first


def test_no_key_is_due_until_shortly_before_the_rotation() -> None:
    first = SigningKey.new(NOW)
    early = NOW + ROTATION - PUBLISHED_AHEAD - timedelta(seconds=1)
    assert successor([first], early, ROTATION) is None
    second = successor([first], NOW + ROTATION - PUBLISHED_AHEAD, ROTATION)
    assert second is not None
    assert second.signs_from == NOW + ROTATION


def test_an_overdue_key_is_still_published_before_it_signs() -> None:
    late = NOW + 3 * ROTATION
    second = successor([SigningKey.new(NOW)], late, ROTATION)
    assert second is not None
    assert second.signs_from == late + PUBLISHED_AHEAD


def test_a_key_takes_over_at_its_time_and_the_old_one_stays_until_its_tokens_expired() -> None:
    old, new = SigningKey.new(NOW - ROTATION), SigningKey.new(NOW)
    keys = [new, old]
    before, after = NOW - timedelta(seconds=1), NOW + LIFE + timedelta(seconds=1)
    assert current(keys, before) is old
    assert set(published(keys, before, LIFE)) == {old, new}
    assert current(keys, NOW) is new
    assert set(published(keys, NOW + LIFE, LIFE)) == {old, new}
    assert published(keys, after, LIFE) == [new]


def test_a_token_signed_before_the_rotation_verifies_after_it() -> None:
    old, new = SigningKey.new(NOW - ROTATION), SigningKey.new(NOW)
    ring = KeyRing(life_s=900)
    ring.load([old, new])
    for signed_at, key in ((NOW - timedelta(seconds=5), old), (NOW, new)):
        token = ring.sign(ANN, "s1", signed_at)
        assert jwt.get_unverified_header(token)["kid"] == key.kid
        keys = {key.key_id: key for key in jwt.PyJWKSet.from_dict(ring.jwks(NOW)).keys}
        claims = jwt.decode(token, keys[key.kid].key, ["EdDSA"], audience="shop")
        assert claims["sub"] == "user-1"


def test_a_published_key_contains_no_private_part() -> None:
    ring = KeyRing(life_s=900)
    ring.load([SigningKey.new(NOW)])
    (key,) = ring.jwks(NOW)["keys"]
    assert key.keys() == {"kty", "crv", "x", "kid", "use", "alg"}


def test_without_a_key_signing_fails() -> None:
    ring = KeyRing(life_s=900)
    ring.load([])
    with pytest.raises(LookupError):
        ring.sign(ANN, "s1", NOW)


def test_a_clock_set_back_before_the_first_key_still_signs() -> None:
    ring = KeyRing(life_s=900)
    ring.load([SigningKey.new(NOW)])
    assert ring.sign(ANN, "s1", NOW - timedelta(minutes=5))
