"""Reads JSON bodies exactly as leniently as Go's decoder does."""

import json
import math
from collections.abc import Iterable
from typing import Any, NoReturn

from lab.nearest import nearest
from lab.proxy.errors import BadRequestBodyError

INT64_MAX = 2**63 - 1


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse)


def decode(body: bytes) -> Any:
    """Returns the first JSON value of a body; raises BadRequestBodyError."""
    text = body.decode("utf-8", errors="replace").lstrip(" \t\r\n")
    if not text:
        raise BadRequestBodyError("EOF")
    try:
        value, _ = _DECODER.raw_decode(text)  # Toxiproxy too ignores the rest
    except (ValueError, RecursionError) as error:
        raise BadRequestBodyError(str(error) or "nested too deeply") from None
    return value


def items(body: bytes) -> list["Fields"]:
    """Reads a body as a list of objects; raises BadRequestBodyError."""
    value = decode(body)
    if value is not None and not isinstance(value, list):
        raise BadRequestBodyError(f"the body must be an array, not {_kind(value)}")
    return [Fields(item) for item in value or []]


class Fields:
    """The fields of a JSON object by name, ignoring case; null counts as absent.

    Each reader returns the default for an absent field and raises BadRequestBodyError for a wrong type.
    """

    def __init__(self, value: object, where: str = "") -> None:
        if value is not None and not isinstance(value, dict):
            raise BadRequestBodyError(
                f"{where or 'the body'} must be an object, not {_kind(value)}"
            )
        self._where = f"{where}." if where else ""
        self._fields = {k.lower(): v for k, v in (value or {}).items() if v is not None}

    @classmethod
    def of(cls, body: bytes) -> "Fields":
        return cls(decode(body))

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def names(self) -> set[str]:
        return set(self._fields)

    def only(self, known: Iterable[str]) -> None:
        """Raises BadRequestBodyError if there is another field than the `known` ones."""
        for name in sorted(self.names() - set(known)):
            raise BadRequestBodyError(f"unknown field {self._where}{name}{nearest(name, known)}")

    def holds_items(self, name: str) -> bool:
        """Whether the field is a list, an object or a text that is not empty."""
        return bool(self._fields.get(name))

    def text(self, name: str, default: str = "") -> str:
        value = self._fields.get(name, default)
        if not isinstance(value, str):
            self._wrong(name, "a string", value)
        # a lone surrogate cannot be encoded: replace it, as Go does
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def flag(self, name: str, default: bool) -> bool:
        value = self._fields.get(name, default)
        if not isinstance(value, bool):
            self._wrong(name, "true or false", value)
        return value

    def integer(self, name: str, default: int) -> int:
        value = self._fields.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int):
            self._wrong(name, "a whole number", value)
        if not -INT64_MAX - 1 <= value <= INT64_MAX:
            raise BadRequestBodyError(f"{self._where}{name} does not fit 64 bits")
        return value

    def number(self, name: str, default: float) -> float:
        value = self._fields.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            self._wrong(name, "a number", value)
        if not math.isfinite(value) or abs(value) > 3.4e38:  # the range of Go's float32
            raise BadRequestBodyError(f"{self._where}{name} is out of range")
        return float(value)

    def nested(self, name: str) -> "Fields":
        return Fields(self._fields.get(name), name)

    def _wrong(self, name: str, expected: str, value: object) -> NoReturn:
        raise BadRequestBodyError(f"{self._where}{name} must be {expected}, not {_kind(value)}")


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int):
        return "a number"
    if isinstance(value, float):
        return "a number with a fraction"
    if isinstance(value, str):
        return "a string"
    return "an array" if isinstance(value, list) else "an object"
