"""A service without a domain, to test the functions that the chassis gives to every service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict

from chassis.http import context
from chassis.http.auth import CurrentUser, called_by
from chassis.http.idempotency import IdempotencyKey, once
from chassis.service import Service, create_app


class TeapotEmptyError(Exception):
    extra = {"cups": 0}  # noqa: RUF012


class Note(BaseModel):
    model_config = ConfigDict(extra="forbid")
    text: str


@asynccontextmanager
async def start(service: Service) -> AsyncIterator[None]:
    if service.settings.database_url:
        service.state.pool = await service.database()
    service.state.effects = []
    service.client("echo")
    yield


app = create_app("echo", problems={TeapotEmptyError: 418}, start=start)


@app.get("/echo")
async def echo() -> dict[str, Any]:
    request = context.current.get()
    assert request is not None
    return {"caller": request.caller, "deadline": request.deadline, "lab": request.lab}


@app.get("/teapot")
async def teapot() -> None:
    raise TeapotEmptyError("nothing left")


@app.get("/broken")
async def broken() -> None:
    raise RuntimeError("secret detail")


@app.get("/shed/{status}")
async def shed(status: int) -> Response:
    """Refuses as an overloaded service does: nothing was done, try again later."""
    return JSONResponse({"definite": True}, status, {"Retry-After": "1"})


@app.get("/mine")
async def mine(user: CurrentUser) -> dict[str, str]:
    return {"id": user.id}


@app.get("/inside")
async def inside(caller: Annotated[str, called_by("orders")]) -> dict[str, str]:
    return {"caller": caller}


async def _pool() -> Any:
    return app.state.pool


@app.post("/notes", status_code=201)
async def note(body: Note, key: IdempotencyKey, pool: Annotated[Any, Depends(_pool)]) -> Any:
    async with pool.acquire() as conn, conn.transaction():
        async with once(conn, scope="notes", key=key, body=body) as attempt:
            if attempt.stored:
                return attempt.stored.response()
            await conn.execute("SELECT $1::text", body.text)
            app.state.effects.append(body.text)
            stored = attempt.record(201, {"text": body.text, "count": len(app.state.effects)})
        return stored.response()
