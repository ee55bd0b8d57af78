"""Keyset pagination: a limit, and a cursor that says where the last page ended."""

import base64
import json
from typing import Annotated, Any

from fastapi import Query

from chassis.http.problems import ProblemError

Limit = Annotated[int, Query(ge=1, le=100)]
LIMIT_DEFAULT = 20


class BadCursorError(ProblemError):
    """A cursor that none of our pages gave out."""


def encode_cursor(*values: str | int | float) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


def decode_cursor(cursor: str | None, *types: type) -> list[Any] | None:
    """The values of `encode_cursor`, or None for the first page; checked against `types` if given."""
    if not cursor:
        return None
    try:
        values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except ValueError:
        values = None
    good = isinstance(values, list) and (
        not types or [type(value) for value in values] == list(types)
    )
    if not good:
        raise BadCursorError(
            "the cursor is not one that a page of this list gave out; start without it"
        )
    return list(values)
