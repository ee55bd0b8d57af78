"""Asks the supervisor of a running lab, over its control API."""

import json
import urllib.error
import urllib.request
from typing import Any

from lab.state import Lab, StateError

ANSWER_S = 90.0  # a scale waits until the new instances are ready


class UsageError(Exception):
    """What was asked makes no sense; the message says what would."""

    exit_code = 2


class ControlError(StateError):
    """The lab could not do it, or does not answer."""


def ask(lab: Lab, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """The JSON answer. Raises UsageError for a bad request, ControlError for all else."""
    request = urllib.request.Request(
        lab.addresses["control"] + path,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {lab.token}"},
        method=method,
    )
    # no proxy: the environment's is not meant for loopback
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=ANSWER_S) as answer:
            content: dict[str, Any] = json.load(answer)
            return content
    except urllib.error.HTTPError as error:
        try:
            message = json.load(error)["error"]
        except (ValueError, KeyError):
            message = f"status {error.code}"
        if error.code in (400, 404):
            raise UsageError(message) from None
        raise ControlError(message) from None
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise ControlError(
            f"the lab's supervisor does not answer at {lab.addresses['control']}: {reason}; "
            "`lab up` starts it again"
        ) from None
