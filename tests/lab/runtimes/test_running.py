"""The fixture `running` that the service tests stand on."""

import signal

import aiohttp

from tests.fixtures.running import Running


async def test_a_service_runs_on_real_stores_and_stops_on_sigterm(running: Running) -> None:
    bank = await running("bank")
    async with aiohttp.ClientSession() as session, session.get(f"{bank.url}/health") as answer:
        assert await answer.json() == {"status": "ok"}
    # uvicorn, when it has finished in good order, raises the signal again for its parent to see
    assert bank.stop(signal.SIGTERM) in (0, -signal.SIGTERM), bank.log.read_text()
    assert "Traceback" not in bank.log.read_text()
