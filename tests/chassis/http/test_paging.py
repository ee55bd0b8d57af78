"""Cursors: what a list issued is read back, and everything else is refused as the client's fault."""

import base64
import json

import pytest

from chassis.http.paging import BadCursorError, decode_cursor, encode_cursor


def of(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


def test_a_cursor_is_read_back() -> None:
    assert decode_cursor(encode_cursor("SKU-0001"), str) == ["SKU-0001"]
    assert decode_cursor(None, str) is None


@pytest.mark.parametrize(
    "cursor",
    [
        of(["\u0000"]),
        of(["\ud800"]),
        of([1]),
        of({"a": "b"}),
        of(["a", "b"]),
        of(["x" * 1000]),
        base64.urlsafe_b64encode(b"[" * 100_000).decode(),
        base64.urlsafe_b64encode(b"[" * 300).decode(),
        "\u20ac",
        "%%%",
    ],
    ids=range(10),
)
def test_another_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(BadCursorError):
        decode_cursor(cursor, str)
