"""Strict pydantic models for tables that people write: an unknown key is an error, each error has a place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    ValidationError,
    ValidatorFunctionWrapHandler,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

Where = tuple[str | int, ...]
PLAIN = {
    "dict_type": "expected a table",
    "tuple_type": "expected a list",
    "string_type": "expected a text",
}


def invalid(text: str, key: str | None = None) -> PydanticCustomError:
    """The error for a validator to raise; `key` is the key of the table that the error is about."""
    return PydanticCustomError("invalid", "{text}", {"text": text, "key": key})


@dataclass(frozen=True)
class Expected:
    """The end of a field's annotation: its error reads `expected TEXT, got VALUE`."""

    text: str

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        def check(value: Any, inner: ValidatorFunctionWrapHandler) -> Any:
            try:
                return inner(value)
            except ValidationError:
                raise invalid(f"expected {self.text}, got {value!r}") from None

        return core_schema.no_info_wrap_validator_function(check, handler(source))


class StrictTable(BaseModel):
    """A table with exactly these keys; those with a default may be left out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _check_keys(cls, table: Any) -> Any:
        keys = ", ".join(cls.model_fields)
        if not isinstance(table, dict):
            raise invalid(f"expected a table of {keys}, got {table!r}")
        for key in table:
            if key not in cls.model_fields:
                raise invalid(f"unknown; expected one of {keys}", str(key))
        return table


def first_error(error: ValidationError) -> tuple[Where, str]:
    """The place of the first error, as keys and list positions from the top, and its text."""
    first = error.errors(include_url=False)[0]
    # pydantic adds the tag of a union's member and "[key]" to the place
    where = [step for step in first["loc"] if not str(step).startswith(("<", "["))]
    if first["type"] == "missing":
        return tuple(where[:-1]), f"lacks {where[-1]}"
    key = first.get("ctx", {}).get("key")
    return tuple([*where, key] if key else where), PLAIN.get(first["type"], first["msg"])
