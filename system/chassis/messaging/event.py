"""The base class of all events: their common fields."""

from datetime import datetime
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field

from chassis.clock import process_now

# The last earlier event of each type of the same aggregate: `OrderConfirmed:<event id>,OrderPlaced:<event id>`.
# The first event of an aggregate has no such header.
AFTER_HEADER = "Breakwater-After"


class Event(BaseModel):
    """A fact, named in the past tense. Subclasses add fields. The class name is the type in messages."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    aggregate_id: str
    event_id: str = Field(default_factory=lambda: str(uuid4()))
    occurred_at: datetime = Field(default_factory=process_now)

    @property
    def type(self) -> str:
        return type(self).__name__
