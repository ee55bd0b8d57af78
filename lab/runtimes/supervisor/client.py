"""Asks the supervisor of a running lab, over its control API."""

import json
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

from lab.state import Lab, StateError

ANSWER_S = 90.0  # a scale waits until the new instances are ready


class UsageError(Exception):
    """What was asked makes no sense; the message says what would."""

    exit_code = 2


class ControlError(StateError):
    """The lab could not do it, or does not answer."""


def call_supervisor(
    lab: Lab, method: str, path: str, body: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The JSON answer. Raises UsageError for a bad request, ControlError for all else."""
    # no opener of urllib's: it makes a TLS context at each call, 30 ms of CPU
    connection = HTTPConnection(urlsplit(lab.addresses["control"]).netloc, timeout=ANSWER_S)
    sent = None if body is None else json.dumps(body)
    try:
        with closing(connection):
            connection.request(method, path, sent, {"Authorization": f"Bearer {lab.token}"})
            answer = connection.getresponse()
            status, text = answer.status, answer.read()
    except (OSError, HTTPException) as error:
        raise ControlError(
            f"the lab's supervisor does not answer at {lab.addresses['control']}: {error}; "
            "`lab up` starts it again"
        ) from None
    try:
        content: dict[str, Any] = json.loads(text)
    except ValueError:
        content = {}
    if status < 400:
        return content
    message = str(content.get("error", f"status {status}"))
    if status in (400, 404):
        raise UsageError(message)
    raise ControlError(message)
