"""The digest of a request body."""

import pytest

from chassis.http import idempotency


def test_a_digest_cannot_be_guessed_without_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    body = {"card_number": "4242424242424242", "lines": [1, 2]}
    monkeypatch.setattr(idempotency, "digest_key", b"one")
    first = idempotency.fingerprint(body)
    assert first == idempotency.fingerprint(dict(reversed(body.items())))
    monkeypatch.setattr(idempotency, "digest_key", b"two")
    assert idempotency.fingerprint(body) != first
