"""The gateway in front of the real users and products: a whole journey, and the cost of a hop."""

import statistics
import time

import aiohttp

from tests.fixtures.running import Running

HOPS_MAX = 3.0  # one read through gateway and products, as a multiple of products called directly


async def test_a_new_user_registers_logs_in_and_browses(running: Running) -> None:
    await running("users")
    await running("products")
    gateway = await running("gateway")
    account = {"email": "ann@example.com", "name": "Ann", "password": "a long passphrase"}
    credentials = {"email": account["email"], "password": account["password"]}
    async with aiohttp.ClientSession(gateway.url) as http:
        key = {"Idempotency-Key": "k1"}
        for replayed in (None, "true"):
            async with http.post("/api/users", json=account, headers=key) as answer:
                assert answer.status == 201
                assert answer.headers.get("Idempotency-Replayed") == replayed
                registered = await answer.json()
        async with http.post("/api/login", json=credentials) as answer:
            granted = await answer.json()
        bearer = {"Authorization": f"Bearer {granted['access_token']}"}
        async with http.get("/api/me", headers=bearer) as answer:
            assert await answer.json() == registered
        async with http.post(
            "/api/refresh", json={"refresh_token": granted["refresh_token"]}
        ) as answer:
            assert answer.status == 200
        async with http.get("/api/products?query=oak&limit=2") as answer:
            assert len((await answer.json())["items"]) == 2
        async with http.get("/api/products/SKU-9999") as answer:
            assert answer.status == 404
        async with http.get("/api/categories") as answer:
            assert (await answer.json())["items"]


async def test_a_read_through_the_gateway_takes_at_most_three_times_a_direct_one(
    running: Running,
) -> None:
    products = await running("products")
    gateway = await running("gateway")
    paths = {
        "direct": products.url + "/products/SKU-0001",
        "gateway": gateway.url + "/api/products/SKU-0001",
    }
    seconds: dict[str, list[float]] = {name: [] for name in paths}
    async with aiohttp.ClientSession() as http:
        for round_ in range(450):  # alternating, so that a busy moment slows both
            for name, url in paths.items():
                started = time.perf_counter()
                async with http.get(url) as answer:
                    await answer.read()
                if round_ >= 50:
                    assert answer.status == 200
                    seconds[name].append(time.perf_counter() - started)
    direct, through = (statistics.median(seconds[name]) for name in paths)
    assert through / direct <= HOPS_MAX, f"{through * 1e3:.2f} ms against {direct * 1e3:.2f} ms"
    print(f"direct {direct * 1e3:.2f} ms, through the gateway {through * 1e3:.2f} ms")
