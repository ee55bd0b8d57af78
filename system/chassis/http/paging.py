"""Keyset pagination: a limit, and a cursor that holds the position of the last row."""

import base64
import json
from typing import Annotated, Any

from fastapi import Query

from chassis.http.problems import ProblemError

Limit = Annotated[int, Query(ge=1, le=100)]
LIMIT_DEFAULT = 20
CURSOR_LENGTH_MAX = 500


class BadCursorError(ProblemError):
    """The cursor was not issued by this list."""


def encode_cursor(*values: str | int | float) -> str:
    """The cursor for these sort values of the last row."""
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


def decode_cursor(cursor: str | None, *types: type) -> list[Any] | None:
    """The values given to `encode_cursor`, or None for the first page. Raises BadCursorError.

    With `types`, each value must have exactly that type.
    """
    if not cursor:
        return None
    values = _decoded(cursor) if len(cursor) <= CURSOR_LENGTH_MAX else None
    if (
        not isinstance(values, list)
        or (types and [type(value) for value in values] != list(types))
        or not all(value.isprintable() for value in values if isinstance(value, str))
    ):
        raise BadCursorError("the cursor was not issued by this list; start without a cursor")
    return values


def _decoded(cursor: str) -> Any:
    """The JSON value in the cursor, None if there is none."""
    try:
        return json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, RecursionError):
        return None
