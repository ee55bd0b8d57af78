"""The running users over HTTP, on real stores."""

import asyncio
import time
from typing import Any

import aiohttp
import asyncpg
import jwt

from tests.fixtures.running import Running, RunningService
from tests.fixtures.waiting import wait_until_async

ANN = {"email": "ann@example.com", "name": "Ann", "password": "a long passphrase"}


async def call(
    service: RunningService, method: str, path: str, json: Any = None, **headers: str
) -> tuple[int, Any, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, service.url + path, json=json, headers=headers) as answer,
    ):
        return answer.status, await answer.json(content_type=None), answer.headers


async def register(service: RunningService, key: str, **changed: str) -> tuple[int, Any, Any]:
    return await call(service, "POST", "/users", ANN | changed, **{"Idempotency-Key": key})


async def login(service: RunningService, **changed: str) -> tuple[int, Any, Any]:
    credentials = {"email": ANN["email"], "password": ANN["password"]} | changed
    return await call(service, "POST", "/login", credentials)


async def test_a_registered_user_logs_in_and_reads_their_profile(running: Running) -> None:
    users = await running("users")
    status, registered, _ = await register(users, "k1", email=" Ann@Example.COM ")
    assert status == 201
    assert registered["email"] == "ann@example.com"
    status, granted, _ = await login(users)
    assert status == 200
    assert granted["token_type"] == "Bearer"
    assert granted["expires_in_s"] == 900
    status, me, _ = await call(
        users, "GET", "/me", Authorization=f"Bearer {granted['access_token']}"
    )
    assert (status, me) == (200, registered)


async def test_the_same_key_registers_once_and_answers_twice(running: Running) -> None:
    users = await running("users")
    first = await register(users, "k1")
    again = await register(users, "k1")
    assert first[:2] == again[:2]
    assert again[2]["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first[2]


async def test_the_same_key_with_another_password_is_refused(running: Running) -> None:
    users = await running("users")
    await register(users, "k1")
    status, problem, _ = await register(users, "k1", password="another passphrase")
    assert status == 422
    assert problem["type"] == "urn:breakwater:problem:key-reused"


async def test_two_people_may_use_the_same_key(running: Running) -> None:
    users = await running("users")
    first = await register(users, "1")
    second = await register(users, "1", email="bob@example.com", name="Bob")
    assert (first[0], second[0]) == (201, 201)
    assert first[1]["id"] != second[1]["id"]
    assert "Idempotency-Replayed" not in second[2]


async def test_a_taken_address_is_a_conflict_whatever_its_case(running: Running) -> None:
    users = await running("users")
    await register(users, "k1")
    status, problem, _ = await register(users, "k2", email="ANN@example.com")
    assert status == 409
    assert problem["type"] == "urn:breakwater:problem:email-taken"


async def test_an_invalid_account_is_refused_by_field(running: Running) -> None:
    users = await running("users")
    for changed in (
        {"email": "ann"},
        {"email": "ann@example.com\x00"},
        {"email": "a" * 250 + "@example.com"},
        {"name": "  "},
        {"name": "An\x00n"},
        {"name": "x" * 101},
        {"password": "short"},
        {"password": "x" * 129},
        {"password": "lone surrogate \ud800"},
    ):
        status, problem, _ = await register(users, "k1", **changed)
        assert status == 422, changed
        assert [error["field"] for error in problem["errors"]] == list(changed)


async def test_wrong_password_and_unknown_address_get_the_same_answer(running: Running) -> None:
    users = await running("users")
    await register(users, "k1")
    wrong = await login(users, password="not the passphrase")
    unknown = await login(users, email="unknown@example.com")
    for status, problem, headers in (wrong, unknown):
        assert status == 401
        assert headers["WWW-Authenticate"].startswith("Bearer")
        del problem["trace_id"]
    assert wrong[1] == unknown[1]


async def test_a_refresh_token_works_once_and_its_reuse_ends_the_session(running: Running) -> None:
    users = await running("users")
    await register(users, "k1")
    _, first, _ = await login(users)
    status, second, _ = await call(
        users, "POST", "/refresh", {"refresh_token": first["refresh_token"]}
    )
    assert status == 200
    assert second["refresh_token"] != first["refresh_token"]
    for token in (first["refresh_token"], second["refresh_token"]):
        status, problem, _ = await call(users, "POST", "/refresh", {"refresh_token": token})
        assert (status, problem["type"]) == (401, "urn:breakwater:problem:bad-refresh-token")


async def test_the_published_keys_verify_tokens_of_any_instance(running: Running) -> None:
    one, other = await running("users"), await running("users")
    await register(one, "k1")
    _, granted, _ = await login(one)
    _, keys, _ = await call(other, "GET", "/.well-known/jwks.json")
    token = granted["access_token"]
    kid = jwt.get_unverified_header(token)["kid"]
    public = next(key for key in jwt.PyJWKSet.from_dict(keys).keys if key.key_id == kid)
    claims = jwt.decode(token, public.key, ["EdDSA"], audience="shop", issuer="breakwater")
    assert {"sub", "email", "name", "iss", "aud", "exp"} <= claims.keys()
    assert claims["exp"] - claims["iat"] == 900
    assert all("d" not in key for key in keys["keys"])
    status, _, _ = await call(other, "GET", "/me", Authorization=f"Bearer {token}")
    assert status == 200


async def test_a_seeded_user_of_the_lab_logs_in(running: Running) -> None:
    users = await running("users")
    status, granted, _ = await login(
        users, email="user500@example.com", password="correct-horse-breakwater"
    )
    assert status == 200
    claims = jwt.decode(granted["access_token"], options={"verify_signature": False})
    assert claims["sub"] == "019b76da-a800-7000-8000-000000000500"


async def test_outside_a_lab_no_user_is_seeded(running: Running) -> None:
    users = await running("users", LAB_TOKEN="")
    status, _, _ = await login(
        users, email="user001@example.com", password="correct-horse-breakwater"
    )
    assert status == 401


async def test_registering_publishes_exactly_one_event(running: Running) -> None:
    users = await running("users")
    await register(users, "k1")
    await register(users, "k1")
    conn = await asyncpg.connect(users.settings.database_url)
    try:
        pending = "SELECT count(*) = 0 FROM outbox WHERE published_at IS NULL"
        await wait_until_async(lambda: conn.fetchval(pending), "no pending event")
        rows = await conn.fetch("SELECT type FROM outbox")
    finally:
        await conn.close()
    assert [row["type"] for row in rows] == ["UserRegistered"]


async def test_the_event_loop_answers_while_passwords_are_hashed(running: Running) -> None:
    users = await running("users", ARGON2_THREADS="1")
    began = time.perf_counter()
    logins = [
        asyncio.create_task(login(users, email=f"user{n:03d}@example.com", password="wrong one"))
        for n in range(1, 31)
    ]
    slowest, answered = 0.0, 0
    while not all(each.done() for each in logins):
        started = time.perf_counter()
        status, _, _ = await call(users, "GET", "/.well-known/jwks.json")
        slowest = max(slowest, time.perf_counter() - started)
        answered += status == 200
    assert answered > 1
    assert slowest < (time.perf_counter() - began) / 2, "one waited for most of the hashing"
    assert {(await each)[0] for each in logins} == {401}


async def test_too_many_waiting_hashes_are_refused_definitely_with_retry_after(
    running: Running,
) -> None:
    users = await running("users", ARGON2_THREADS="1", ARGON2_WAITING_MAX="1")
    answers = await asyncio.gather(*(login(users, email="user001@example.com") for _ in range(20)))
    busy = [(problem, headers) for status, problem, headers in answers if status == 503]
    assert busy
    assert all(problem["definite"] is True for problem, _ in busy)
    assert all(int(headers["Retry-After"]) >= 1 for _, headers in busy)
    assert 401 in {status for status, _, _ in answers}
