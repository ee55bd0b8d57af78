"""The data that travels with a request from service to service, in one context variable."""

from contextvars import ContextVar
from dataclasses import dataclass

CALLER_HEADER = "breakwater-caller"
LAB_HEADER = "breakwater-lab"


@dataclass(slots=True)
class RequestContext:
    """`deadline` is on the monotonic clock (seconds); `lab` is the raw lab header, empty outside a lab."""

    deadline: float | None = None
    caller: str = ""
    lab: str = ""


current: ContextVar[RequestContext | None] = ContextVar("request", default=None)


def deadline() -> float | None:
    """The deadline of the request being handled, or None outside one."""
    request = current.get()
    return request.deadline if request else None


def lab_options(header: str) -> dict[str, str]:
    """`resilience=none; x=y` -> dict. Malformed parts are ignored."""
    pairs = (part.partition("=") for part in header.split(";"))
    return {key.strip(): value.strip() for key, sep, value in pairs if sep}
