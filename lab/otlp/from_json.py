"""Reads an OTLP/JSON request as its protobuf message: by ProtoJSON's rules, but ids are hexadecimal.

https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
"""

from __future__ import annotations

from base64 import b64encode
from binascii import unhexlify
from collections.abc import Sequence
from typing import Any, TypeVar

from lab.json_text import parse
from lab.otlp.values import OtlpError

IDS = ("traceId", "spanId", "parentSpanId")
Message = TypeVar("Message")


def message_from_json(body: bytes, message: Message, path: Sequence[str]) -> Message:
    """Fills `message`. path: the nested lists down to the spans or log records. Raises OtlpError."""
    from google.protobuf.json_format import ParseDict, ParseError  # type: ignore[import-untyped] # only JSON needs it

    try:
        request = parse(body)
        for item in _items(request, path):
            for name in IDS:
                if item.get(name):
                    item[name] = b64encode(unhexlify(item[name]))
            item.pop("links", None)  # their ids are hexadecimal too, and no table has them
        ParseDict(request, message, ignore_unknown_fields=True)
    except (ParseError, ValueError, TypeError, AttributeError) as error:
        kind = type(message).__name__
        raise OtlpError(f"the body is no OTLP/JSON {kind}: {error!s:.300}") from None
    return message


def _items(request: Any, path: Sequence[str]) -> list[Any]:
    """The elements of the innermost lists."""
    found = [request]
    for name in path:
        found = [each for outer in found for each in outer.get(name) or ()]
    return found
