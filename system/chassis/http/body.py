"""The base class of request bodies."""

from pydantic import BaseModel, ConfigDict


class Body(BaseModel):
    """A request body. An unknown field is refused with 422, so that a misspelt one is not ignored."""

    model_config = ConfigDict(extra="forbid")
