"""The documents that describe the public API and the events."""

import aiohttp

from tests.fixtures.running import Running


async def test_the_events_are_described_as_asyncapi(running: Running) -> None:
    gateway = await running("gateway")
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{gateway.url}/api/asyncapi.json") as answer,
    ):
        document = await answer.json()
    assert document["asyncapi"] == "3.0.0"
    confirmed = document["components"]["messages"]["OrderConfirmed"]["payload"]
    assert {"event_id", "aggregate_id", "user_id", "total_cents"} <= set(confirmed["properties"])
