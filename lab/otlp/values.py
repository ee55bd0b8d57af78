"""Converts OTLP attribute values (protobuf or JSON) to Python values and to JSON text."""

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
    return getattr(value, which)


def pairs_from_protobuf(pairs: Iterable[Any]) -> dict[str, Any]:
    # Most values are non-empty text, so this is tried first.
    return {pair.key: pair.value.string_value or from_protobuf(pair.value) for pair in pairs}


def from_json(value: dict[str, Any]) -> Any:
    """The value of an OTLP/JSON AnyValue, an object with one member that is named after its type."""
    for which, held in value.items():
        if which == "intValue":
            return int(held)
        if which == "arrayValue":
            return [from_json(item) for item in held.get("values", [])]
        if which == "kvlistValue":
            return pairs_from_json(held.get("values", []))
        return held
    return ""


def pairs_from_json(pairs: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {str(pair["key"]): from_json(pair.get("value", {})) for pair in pairs}


def object_text(attributes: dict[str, Any]) -> str:
    """The attributes as a JSON object in ASCII. Formatted by hand, because it runs for each span."""
    parts = [
        f"{quote(key)}:{quote(value) if value.__class__ is str else value_text(value)}"
        for key, value in attributes.items()
    ]
    return "{" + ",".join(parts) + "}"


def value_text(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return quote(str(value))  # JSON has no NaN and no infinity
    return json.dumps(value)


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
