"""Every service answers bad input with a clear problem and the right status, and changes nothing."""

from collections.abc import AsyncIterator

from tests.conformance.subject import Conforms, Operation, Subject, assert_problem

LIMIT = 64 * 1024
# services that parse no bodies -> why; the suite fails when an entry is no longer true
WITHOUT_BODIES = {
    "gateway": "it forwards bodies unparsed; the called service checks them",
    "notifications": "it only lists mails",
}


async def test_problems(conforms: Conforms) -> None:
    await conforms(
        an_unknown_path_is_404,
        a_wrong_method_is_405_and_names_the_right_ones,
        a_body_that_is_too_large_is_413,
        a_large_body_without_its_length_is_413_as_well,
        a_body_that_is_not_json_is_400,
        an_unknown_field_is_422_and_named,
        a_body_of_the_wrong_shape_is_422,
        a_request_past_its_deadline_is_504_and_has_no_effect,
    )


def with_bodies(subject: Subject) -> list[Operation]:
    found = [operation for operation in subject.operations if operation.body]
    assert bool(found) is (subject.name not in WITHOUT_BODIES)
    return found


async def an_unknown_path_is_404(subject: Subject) -> None:
    for path in ("/", "/no/such/path", "/%00", "/..%2f..%2fetc"):
        for method in ("GET", "POST"):
            assert_problem(await subject.call(method, path), 404, (method, path))


async def a_wrong_method_is_405_and_names_the_right_ones(subject: Subject) -> None:
    for operation in subject.operations:
        answer = await subject.call("PATCH", operation.some_path)
        assert_problem(answer, 405, operation)
        allowed = {method.strip() for method in answer.headers["Allow"].split(",")}
        assert allowed == {
            each.method for each in subject.operations if each.path == operation.path
        }


async def a_body_that_is_too_large_is_413(subject: Subject) -> None:
    for operation in subject.operations:
        if operation.method in ("POST", "PUT"):
            headers = await subject.token(operation)
            answer = await subject.call(
                operation.method, operation.some_path, content=b" " * (LIMIT + 1),
                Idempotency_Key="k", **headers,
            )  # fmt: skip
            assert_problem(answer, 413, operation)


async def a_large_body_without_its_length_is_413_as_well(subject: Subject) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(9):
            yield b" " * (LIMIT // 8)

    for operation in with_bodies(subject):
        headers = await subject.token(operation)
        answer = await subject.call(
            operation.method, operation.some_path, content=chunks(), Idempotency_Key="k", **headers
        )
        assert_problem(answer, 413, operation)


async def a_body_that_is_not_json_is_400(subject: Subject) -> None:
    for operation in with_bodies(subject):
        headers = await subject.token(operation)
        for content in (b"{", b"not json", b"\xff\xfe", b'{"a": 1,}'):
            answer = await subject.call(
                operation.method,
                operation.some_path,
                content=content,
                Idempotency_Key="k",
                **headers,
            )
            assert_problem(answer, 400, (operation, content))


async def an_unknown_field_is_422_and_named(subject: Subject) -> None:
    for operation in with_bodies(subject):
        headers = await subject.token(operation)
        answer = await subject.call(
            operation.method, operation.some_path, json={"unknown_field": 1}, Idempotency_Key="k",
            **headers,
        )  # fmt: skip
        problem = assert_problem(answer, 422, operation)
        assert "unknown_field" in {error["field"] for error in problem["errors"]}, (
            f"{operation}: derive the body's model from chassis.http.body.Body"
        )
        assert all(error["message"] for error in problem["errors"])


async def a_body_of_the_wrong_shape_is_422(subject: Subject) -> None:
    for operation in with_bodies(subject):
        headers = await subject.token(operation)
        for content in (b"[]", b'"text"', b"17", b"null", b""):
            answer = await subject.call(
                operation.method,
                operation.some_path,
                content=content,
                Idempotency_Key="k",
                **headers,
            )
            assert_problem(answer, 422, (operation, content))


async def a_request_past_its_deadline_is_504_and_has_no_effect(subject: Subject) -> None:
    for operation in subject.operations:
        answer = await subject.call(
            operation.method, operation.some_path, Breakwater_Budget_Ms="0", Idempotency_Key="k"
        )
        problem = assert_problem(answer, 504, operation)
        assert problem["definite"] is True
