"""Sends requests to the supervisor of a running lab, over its control API."""

from typing import Any

from lab.http_client import NoReplyError, exchange
from lab.state import Lab, StateError

ANSWER_S = 90.0  # a scale waits until the new instances are ready


class UsageError(Exception):
    """The command line or the request is wrong; the message says what is expected."""

    exit_code = 2


class ControlError(StateError):
    """The supervisor could not do it, or does not answer."""


def call_supervisor(
    lab: Lab, method: str, path: str, body: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The JSON answer. Raises UsageError for a bad request, ControlError for any other failure."""
    url = lab.addresses["control"]
    try:
        reply = exchange(method, url + path, body=body, token=lab.token, timeout_s=ANSWER_S)
    except NoReplyError as error:
        raise ControlError(
            f"the lab's supervisor does not answer at {url}: {error}; `lab up` starts it again"
        ) from None
    content: dict[str, Any] = reply.body if isinstance(reply.body, dict) else {}
    if reply.status < 400:
        return content
    message = str(content.get("error", f"status {reply.status}"))
    if reply.status in (400, 404):
        raise UsageError(message)
    raise ControlError(message)
