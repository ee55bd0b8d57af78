"""Sessions that end before their access token expires, on the running users and another service."""

import asyncpg
import pytest

from shop.users.announcer import Announcer
from tests.fixtures.running import Running, RunningService
from tests.fixtures.waiting import wait_until_async
from tests.shop.users.test_app import call

ORDER = {
    "lines": [{"sku": "SKU-0001", "quantity": 1}],
    "payment": {"card_number": "4242424242424242"},
}
USER = {"email": "user001@example.com", "password": "correct-horse-breakwater"}


@pytest.fixture
async def users(running: Running) -> RunningService:
    return await running("users")


@pytest.fixture
async def orders(users: RunningService, running: Running) -> RunningService:
    return await running("orders")


async def logged_in(users: RunningService) -> dict[str, str]:
    status, granted, _ = await call(users, "POST", "/login", USER)
    assert status == 200
    return dict(granted)


async def of(service: RunningService, method: str, path: str, granted: dict[str, str]) -> int:
    authorization = f"Bearer {granted['access_token']}"
    status, _, _ = await call(service, method, path, Authorization=authorization)
    return status


async def wait_until_refused(orders: RunningService, granted: dict[str, str]) -> None:
    async def refused() -> bool:
        return await of(orders, "GET", "/orders", granted) == 401

    await wait_until_async(refused, "orders refuses the token")


async def test_after_a_log_out_every_service_refuses_the_sessions_tokens(
    users: RunningService, orders: RunningService, running: Running
) -> None:
    granted, elsewhere = await logged_in(users), await logged_in(users)
    assert await of(orders, "GET", "/orders", granted) == 200
    assert await of(users, "POST", "/logout", granted) == 200
    assert await of(users, "GET", "/me", granted) == 401
    await wait_until_refused(orders, granted)
    refresh = {"refresh_token": granted["refresh_token"]}
    assert (await call(users, "POST", "/refresh", refresh))[0] == 401
    assert await of(orders, "GET", "/orders", elsewhere) == 200, "the other log-in is still valid"
    late = await running("orders")
    assert await of(late, "GET", "/orders", granted) == 401, "an instance that starts later knows"


async def test_a_deleted_user_cannot_order(users: RunningService, orders: RunningService) -> None:
    sessions = [await logged_in(users) for _ in range(2)]
    assert await of(orders, "GET", "/orders", sessions[1]) == 200
    assert await of(users, "DELETE", "/me", sessions[0]) == 200
    for granted in sessions:
        await wait_until_refused(orders, granted)
        authorization = {"Authorization": f"Bearer {granted['access_token']}"}
        status, problem, _ = await call(
            orders, "POST", "/orders", ORDER, **authorization, **{"Idempotency-Key": "k1"}
        )
        assert (status, problem["type"]) == (401, "urn:breakwater:problem:unauthenticated")
    assert (await call(users, "POST", "/login", USER))[0] == 401


async def test_however_a_session_ends_its_tokens_end(
    users: RunningService, orders: RunningService
) -> None:
    """The database itself keeps it: here a user is deleted by hand, and a refresh token is used twice."""
    stolen = await logged_in(users)
    refresh = {"refresh_token": stolen["refresh_token"]}
    assert [(await call(users, "POST", "/refresh", refresh))[0] for _ in "12"] == [200, 401]
    await wait_until_refused(orders, stolen)
    granted = await logged_in(users)
    conn = await asyncpg.connect(users.settings.database_url)
    await conn.execute("DELETE FROM users WHERE email = $1", USER["email"])
    await conn.close()
    await wait_until_refused(orders, granted)


async def test_a_session_that_cannot_be_announced_is_announced_later() -> None:
    class Store:
        due = ["s1", "s2"]  # noqa: RUF012

        async def ended_sessions(self) -> list[str]:
            return self.due

        async def announced(self, session_ids: list[str]) -> None:
            self.due = [each for each in self.due if each not in session_ids]

    class Broker:
        down = True
        announced: list[str] = []  # noqa: RUF012

        async def announce(self, session_id: str) -> None:
            if self.down:
                raise TimeoutError
            self.announced.append(session_id)

    store, broker = Store(), Broker()
    announcer = Announcer(store, broker)
    await announcer.announce()
    assert store.due == ["s1", "s2"]
    broker.down = False
    await announcer.announce()
    assert (store.due, broker.announced) == ([], ["s1", "s2"])
