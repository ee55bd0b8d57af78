"""Availability and history are two vocabularies; a refusal is ok in the one and fail in the other."""

import pytest

from lab.load.outcome import attempt_outcome, broken_outcome, history_type


@pytest.mark.parametrize(
    ("method", "status", "body", "headers", "outcome"),
    [
        ("POST", 201, {}, {}, "ok"),
        ("POST", 202, {}, {}, "ok"),
        ("POST", 402, {}, {}, "ok"),
        ("POST", 409, {}, {}, "ok"),
        ("POST", 409, {}, {"retry-after": "1"}, "unknown"),
        ("POST", 422, {}, {}, "fail"),
        ("POST", 429, {}, {}, "fail"),
        ("POST", 500, {}, {}, "unknown"),
        ("POST", 503, {"definite": True}, {}, "fail"),
        ("POST", 503, {"definite": False}, {}, "unknown"),
        ("POST", 504, None, {}, "unknown"),
        ("GET", 503, {"definite": False}, {}, "fail"),
        ("GET", 404, {}, {}, "fail"),
    ],
)
def test_an_answer_is_classified_by_its_status_and_its_definite_flag(
    method: str, status: int, body: object, headers: dict[str, str], outcome: str
) -> None:
    assert attempt_outcome(method, status, body, headers) == outcome


def test_only_a_refused_connection_proves_that_nothing_was_delivered() -> None:
    assert broken_outcome(ConnectionRefusedError()) == "fail"
    assert broken_outcome(ConnectionResetError()) == "unknown"
    assert broken_outcome(TimeoutError()) == "unknown"


@pytest.mark.parametrize(
    ("outcome", "status", "type"),
    [
        ("ok", 201, "ok"),
        ("ok", 402, "fail"),
        ("ok", 409, "fail"),
        ("fail", 422, "fail"),
        ("unknown", 0, "info"),
        ("unknown", 503, "info"),
    ],
)
def test_the_history_records_whether_the_operation_took_place(
    outcome: str, status: int, type: str
) -> None:
    assert history_type(outcome, status) == type
