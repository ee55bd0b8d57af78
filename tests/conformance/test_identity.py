"""Callers are authenticated, and every POST with an effect requires an Idempotency-Key."""

import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chassis.http.auth import ISSUER, USER_AUDIENCE
from lab import topology
from tests.conformance.subject import SOME_ID, Conforms, Operation, Subject, assert_problem

# services without a guarded route -> why; the suite fails when an entry is no longer true
UNGUARDED: dict[str, str] = {}
# POSTs that require no key -> why
WITHOUT_KEY = {
    "/login": "a repeated login has no visible effect",
    "/refresh": "the refresh token works only once",
    "/logout": "a session ends only once",
}
BAD_KEYS = ("", "two words", "x" * 256, "tab\there", "é")


async def test_identity(conforms: Conforms) -> None:
    await conforms(
        without_a_token_it_is_401,
        with_a_forged_token_it_is_401,
        with_an_expired_token_it_is_401,
        with_a_token_for_another_service_it_is_401,
        with_a_token_of_the_wrong_kind_it_is_403,
        with_a_token_of_a_service_that_does_not_call_it_it_is_403,
        every_post_with_an_effect_needs_its_key,
        the_labs_controls_are_closed_without_its_token,
    )


def guarded(subject: Subject) -> list[Operation]:
    found = [operation for operation in subject.operations if operation.token_kind]
    assert bool(found) is (subject.name not in UNGUARDED)
    return found


async def refused(subject: Subject, status: int, authorization: str | None) -> None:
    for operation in guarded(subject):
        headers = {} if authorization is None else {"Authorization": authorization}
        answer = await subject.call(
            operation.method, operation.some_path, Idempotency_Key="k", **headers
        )
        assert_problem(answer, status, (operation, authorization))
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


async def without_a_token_it_is_401(subject: Subject) -> None:
    for nothing in (
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic dXNlcjpwYXNz",
        "Bearer junk",
        "Bearer a.b.c",
    ):
        await refused(subject, 401, nothing)


def claims(audience: str, **changed: Any) -> dict[str, Any]:
    usual = {"sub": SOME_ID, "iss": ISSUER, "aud": audience, "exp": int(time.time()) + 600}
    return usual | changed


async def with_a_forged_token_it_is_401(subject: Subject) -> None:
    thief = Ed25519PrivateKey.generate()
    kid = jwt.get_unverified_header(await subject.user_token())["kid"]
    forged = [
        jwt.encode(claims(USER_AUDIENCE), thief, "EdDSA", headers={"kid": kid}),
        jwt.encode(claims(USER_AUDIENCE), thief, "EdDSA", headers={"kid": "unknown"}),
        jwt.encode(claims(USER_AUDIENCE), "", "none", headers={"kid": kid}),
        jwt.encode(claims(subject.name), "a guessed secret of thirty-two bytes", "HS256"),
        jwt.encode(claims(USER_AUDIENCE), subject.service.settings.service_secret, "HS256"),
    ]
    whole = await subject.user_token()
    header, payload, signature = whole.split(".")
    forged.append(f"{header}.{payload}.{signature[:-4]}AAAA")
    for token in forged:
        await refused(subject, 401, f"Bearer {token}")


async def with_an_expired_token_it_is_401(subject: Subject) -> None:
    past = int(time.time()) - 60
    secret = subject.service.settings.service_secret
    tokens = [jwt.encode(claims(subject.name, exp=past), secret, "HS256")]
    if subject.name != "users":  # it signs its own tokens; test_keys covers their expiry
        tokens.append(subject.service.user_token(SOME_ID, ttl_s=-60))
    for token in tokens:
        await refused(subject, 401, f"Bearer {token}")


async def with_a_token_for_another_service_it_is_401(subject: Subject) -> None:
    secret = subject.service.settings.service_secret
    await refused(subject, 401, f"Bearer {jwt.encode(claims('another'), secret, 'HS256')}")


async def with_a_token_of_the_wrong_kind_it_is_403(subject: Subject) -> None:
    for operation in guarded(subject):
        if operation.token_kind == "either":
            continue
        token = (
            await subject.user_token()
            if operation.token_kind == "service"
            else subject.service.service_token("orders")
        )
        answer = await subject.call(
            operation.method,
            operation.some_path,
            Idempotency_Key="k",
            Authorization=f"Bearer {token}",
        )
        assert_problem(answer, 403, operation)


async def with_a_token_of_a_service_that_does_not_call_it_it_is_403(subject: Subject) -> None:
    """A token that another service sent, or lost, is of no use."""
    services = topology.load().services
    for operation in (each for each in guarded(subject) if each.callers):
        declared = {each.name for each in services.values() if subject.name in each.calls}
        assert operation.callers <= {*declared, subject.name}, (operation, declared)
        for other in services.keys() - operation.callers:
            answer = await subject.call(
                operation.method, operation.some_path, Idempotency_Key="k",
                Authorization=f"Bearer {subject.service.service_token(other)}",
            )  # fmt: skip
            assert_problem(answer, 403, (operation, other))


async def every_post_with_an_effect_needs_its_key(subject: Subject) -> None:
    for operation in subject.operations:
        if operation.method != "POST":
            assert not operation.key, operation
            continue
        if operation.path.removeprefix("/api") in WITHOUT_KEY:
            continue
        assert operation.key, (
            f"{operation} must take `key: IdempotencyKey` (chassis.http.idempotency)"
        )
        headers = await subject.token(operation)
        answer = await subject.call("POST", operation.some_path, **headers)
        assert "Idempotency-Key" in assert_problem(answer, 400, operation)["detail"]
        for bad in BAD_KEYS:
            answer = await subject.call("POST", operation.some_path, Idempotency_Key=bad, **headers)
            assert_problem(answer, 400, (operation, bad))


async def the_labs_controls_are_closed_without_its_token(subject: Subject) -> None:
    for authorization in ("", "Bearer guessed", f"Bearer {await subject.user_token()}"):
        for method, path in (("GET", "/_lab/faults"), ("POST", "/_lab/faults")):
            answer = await subject.call(method, path, Authorization=authorization)
            assert answer.status == 401, (method, path, authorization)
