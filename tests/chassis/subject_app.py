"""A service that uses all parts of the chassis, so that the effects of faults are visible."""

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Request

from chassis.http.auth import called_by
from chassis.messaging import inbox
from chassis.messaging.event import Event
from chassis.postgres import connection, database
from chassis.postgres.connection import Conn
from chassis.service import Service, create_app
from tests.chassis.cached_json import get_or_load

# the same waits as in the shop, but short enough for a test
for module in (connection, database):
    vars(module)["STATEMENT_S"] = 1.5
inbox.ACK_WAIT_S = 2.0
inbox.DELIVERIES_MAX = 3


class ThingHappened(Event):
    number: int


@asynccontextmanager
async def start(service: Service) -> AsyncIterator[None]:
    state = service.state
    state.pool = await service.database()
    state.cache = await service.cache()
    state.outbox = await service.outbox(state.pool)
    state.itself = service.client("subject")
    state.source, state.loads, state.seen = "first", 0, []
    await service.consume(state.pool, {ThingHappened: _handle})
    yield


app = create_app("subject", start=start)
log = logging.getLogger("subject")


async def _handle(conn: Conn, event: ThingHappened) -> None:
    await conn.execute("INSERT INTO handled (number) VALUES ($1)", event.number)


@app.get("/plain")
async def plain() -> dict[str, str]:
    return {"text": "x" * 200}


@app.post("/complain")
async def complain() -> None:
    """Write a kilobyte to the log."""
    log.warning("complaint %s", "x" * 1000)


@app.get("/open")
async def open_files() -> int:
    """The errno of opening a file, 0 if it can be opened."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return error.errno or -1
    return 0


@app.get("/one")
async def one(request: Request) -> int:
    return int(await request.app.state.pool.fetchval("SELECT 1"))


@app.post("/rows/{number}", status_code=201)
async def add_row(request: Request, number: int) -> None:
    async with request.app.state.pool.acquire() as conn, conn.transaction():
        await conn.execute("INSERT INTO rows (number) VALUES ($1)", number)


@app.get("/rows")
async def rows(request: Request) -> list[int]:
    return [r["number"] for r in await request.app.state.pool.fetch("SELECT number FROM rows")]


@app.get("/cached")
async def cached(request: Request) -> dict[str, Any]:
    state = request.app.state

    async def load() -> str:
        state.loads += 1
        return str(state.source)

    return {"value": await get_or_load(state.cache, "thing", 60, load), "loads": state.loads}


@app.put("/cached/{value}")
async def change(request: Request, value: str) -> None:
    request.app.state.source = value
    await request.app.state.cache.delete("thing")


@app.post("/events/{number}")
async def happen(request: Request, number: int) -> None:
    state = request.app.state
    async with state.pool.acquire() as conn, conn.transaction():
        await state.outbox.put(conn, ThingHappened(aggregate_id=str(number), number=number))


@app.get("/handled")
async def handled(request: Request) -> list[int]:
    query = "SELECT number FROM handled ORDER BY id"
    return [row["number"] for row in await request.app.state.pool.fetch(query)]


@app.post("/seen")
async def see(request: Request) -> dict[str, Any]:
    request.app.state.seen.append(dict(request.headers))
    return {"text": "y" * 100}


@app.get("/seen")
async def seen(request: Request) -> list[dict[str, str]]:
    return list(request.app.state.seen)


@app.get("/who")
async def who(caller: Annotated[str, called_by("tester")]) -> str:
    return caller


@app.post("/call")
async def call(request: Request) -> Any:
    answer = await request.app.state.itself.post("/seen", json={}, key="one-key")
    return {"content": answer.content.decode("latin-1")}


@app.get("/instances/{service}")
async def instances(request: Request, service: str) -> list[str]:
    return [each.name for each in request.app.state.service.instances(service)]
