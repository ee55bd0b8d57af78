"""Converts OTLP attribute values to Python values and to JSON text."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from json.encoder import encode_basestring_ascii as quote
from typing import Any


class OtlpError(ValueError):
    """The body is not an OTLP request of its kind, or a value is malformed; the message has the reason."""


def from_protobuf(value: Any) -> Any:
    """The value of a protobuf AnyValue."""
    which = value.WhichOneof("value")
    if which is None:
        return ""
    if which == "array_value":
        return [from_protobuf(item) for item in value.array_value.values]
    if which == "kvlist_value":
        return {pair.key: from_protobuf(pair.value) for pair in value.kvlist_value.values}
    if which == "bytes_value":
        return value.bytes_value.hex()
    found = getattr(value, which)
    if which == "double_value" and not math.isfinite(found):
        return str(found)  # JSON has no NaN and no infinity
    return found


def pairs_from_protobuf(pairs: Iterable[Any]) -> dict[str, Any]:
    # Most values are non-empty text, so this is tried first.
    return {pair.key: pair.value.string_value or from_protobuf(pair.value) for pair in pairs}


def object_text(attributes: dict[str, Any]) -> str:
    """The attributes as a JSON object in ASCII. Formatted by hand, because it runs for each span."""
    parts = [
        f"{quote(key)}:{quote(value) if value.__class__ is str else json.dumps(value)}"
        for key, value in attributes.items()
    ]
    return "{" + ",".join(parts) + "}"


def checked_id(text: str, digits: int, what: str) -> str:
    """A trace or span id as lower-case hex. Raises OtlpError for another length, or all zeros."""
    if len(text) != digits or text.count("0") == digits:
        raise OtlpError(f"{what} {text[:40]!r} is not {digits} hex digits with one that is not 0")
    return text


def checked_ns(nanoseconds: int) -> int:
    """A time in nanoseconds since the epoch. Raises OtlpError for one beyond the year 2262."""
    if not 0 <= nanoseconds < 2**63:
        raise OtlpError(f"{nanoseconds} is no time in nanoseconds since 1970")
    return nanoseconds
