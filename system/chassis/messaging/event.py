"""The envelope that every event travels in."""

from datetime import datetime
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field

from chassis.clock import process_now

# The last earlier event of each type of its aggregate, `OrderConfirmed:<event id>,OrderPlaced:<event id>`;
# the first one has none.
AFTER_HEADER = "Breakwater-After"


class Event(BaseModel):
    """A fact, named in the past tense. Subclasses add their own fields; the class name is the wire type."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    aggregate_id: str
    event_id: str = Field(default_factory=lambda: str(uuid4()))
    occurred_at: datetime = Field(default_factory=process_now)

    @property
    def type(self) -> str:
        return type(self).__name__
