"""HTTP edge of users: parse, call the use cases, answer. It contains no business rules."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Annotated, Any

from fastapi import Request, Response
from pydantic import AfterValidator, BaseModel, Field

from chassis.http.auth import CurrentUser
from chassis.http.body import Body
from chassis.http.idempotency import IdempotencyKey
from chassis.http.state import from_state
from chassis.ids import new_id
from chassis.service import Service, create_app
from shop.users import domain
from shop.users.announcer import Announcer
from shop.users.keys import ROTATION, KeyRing
from shop.users.passwords import ArgonPasswords
from shop.users.seed import seed
from shop.users.store import UserStore, signing_keys

ACCESS_TOKEN_S = 900
KEYS_RELOAD_S = 30.0

Email = Annotated[str, Field(max_length=320), AfterValidator(domain.normalise_email)]
Name = Annotated[str, Field(max_length=1000), AfterValidator(domain.clean_name)]


class Register(Body):
    email: Email
    name: Name
    password: str = Field(
        min_length=domain.PASSWORD_LENGTH_MIN, max_length=domain.PASSWORD_LENGTH_MAX
    )


class Login(Body):
    email: Email
    password: str = Field(max_length=domain.PASSWORD_LENGTH_MAX)


class Refresh(Body):
    refresh_token: str = Field(max_length=200)


class UserView(BaseModel):
    id: str
    email: str
    name: str


class TokensView(BaseModel):
    access_token: str
    token_type: str = "Bearer"
    expires_in_s: int
    refresh_token: str


class LoggedOut(BaseModel):
    session_ended: bool = True


@asynccontextmanager
async def start(service: Service) -> AsyncIterator[None]:
    settings = service.settings
    pool = await service.database(seed=seed)
    outbox = await service.outbox(pool)
    ring = KeyRing(life_s=int(settings.number("ACCESS_TOKEN_S", ACCESS_TOKEN_S)))
    rotation = timedelta(seconds=settings.number("KEY_ROTATION_S", ROTATION.total_seconds()))

    async def reload_keys() -> None:
        now = service.clock.now()
        ring.load(await signing_keys(pool, now, rotation, timedelta(seconds=ring.life_s)))
        # its own token check uses these keys, without a call to itself
        service.auth.users.trust(ring.jwks(now))

    async def reload_keys_regularly() -> None:
        while True:
            await service.clock.sleep(KEYS_RELOAD_S)
            await reload_keys()

    await reload_keys()
    service.background("reload signing keys", reload_keys_regularly)
    passwords = await asyncio.to_thread(
        ArgonPasswords,
        threads=int(settings.number("ARGON2_THREADS", 2)),
        waiting_max=int(settings.number("ARGON2_WAITING_MAX", 64)),
    )
    service.state.ring = ring
    service.state.clock = service.clock
    store = UserStore(pool, outbox)
    announcer = service.state.announcer = Announcer(store, service.ended_sessions)
    service.background("announce ended sessions", announcer.run)
    service.state.users = domain.Users(store, passwords, ring, service.clock, new_id)
    yield
    passwords.close()


app = create_app(
    "users",
    problems={
        domain.EmailTakenError: 409,
        domain.BadCredentialsError: 401,
        domain.BadRefreshTokenError: 401,
        domain.TooBusyError: 503,
    },
    start=start,
)


UsersDep = Annotated[domain.Users, from_state("users")]
AnnouncerDep = Annotated[Announcer, from_state("announcer")]


@app.post("/users", status_code=201, response_model=UserView, summary="Register a user")
async def register(body: Register, key: IdempotencyKey, users: UsersDep) -> Response:
    stored = await users.register(body.email, body.name, body.password, key)
    return stored.response()


@app.post("/login", response_model=TokensView, summary="Log in")
async def login(body: Login, users: UsersDep) -> domain.Tokens:
    return await users.login(body.email, body.password)


@app.post("/refresh", response_model=TokensView, summary="Exchange a refresh token for new tokens")
async def refresh(body: Refresh, users: UsersDep) -> domain.Tokens:
    return await users.refresh(body.refresh_token)


@app.get("/me", response_model=UserView, summary="Read the token's user")
async def me(user: CurrentUser, users: UsersDep) -> domain.User:
    return await users.profile(user.id)


@app.delete("/me", response_model=UserView, summary="Delete the token's user")
async def delete_me(user: CurrentUser, users: UsersDep, announcer: AnnouncerDep) -> domain.User:
    deleted = await users.delete_account(user.id)
    await announcer.announce()
    return deleted


@app.post("/logout", summary="End the token's session")
async def log_out(user: CurrentUser, users: UsersDep, announcer: AnnouncerDep) -> LoggedOut:
    await users.log_out(user.session)
    await announcer.announce()
    return LoggedOut()


@app.get("/.well-known/jwks.json", summary="Read the public keys of user tokens (RFC 7517)")
async def jwks(request: Request) -> dict[str, Any]:
    ring: KeyRing = request.app.state.ring
    return ring.jwks(request.app.state.clock.now())
