"""The accounts, sessions and signing keys in PostgreSQL."""

from datetime import datetime, timedelta
from typing import Any

from asyncpg import Pool, Record

from chassis.http.idempotency import Stored, once
from chassis.messaging.outbox import Outbox
from contracts.events import UserRegistered
from shop.users.domain import Account, EmailTakenError, Session, User
from shop.users.keys import SigningKey, published, successor


class UserStore:
    """Events go into `outbox` in the same transactions."""

    def __init__(self, pool: Pool, outbox: Outbox) -> None:
        self._pool = pool
        self._outbox = outbox

    async def register(
        self, user: User, password_hash: str, created_at: datetime, key: str, body: dict[str, Any]
    ) -> Stored:
        """201 and the user, or the stored answer of this key. Raises EmailTakenError, KeyReusedError."""
        async with (
            self._pool.acquire() as conn,
            conn.transaction(),
            # an address of its own: two people may use the same key
            once(conn, scope=f"users.register/{user.email}", key=key, body=body) as attempt,
        ):
            if attempt.stored:
                return attempt.stored
            added = await conn.fetchval(
                "INSERT INTO users (user_id, email, name, password_hash, created_at) "
                "VALUES ($1, $2, $3, $4, $5) ON CONFLICT (email) DO NOTHING RETURNING true",
                user.id, user.email, user.name, password_hash, created_at,
            )  # fmt: skip
            if not added:
                raise EmailTakenError(f"{user.email} already has an account; log in instead")
            await self._outbox.put(
                conn,
                UserRegistered(
                    aggregate_id=user.id, occurred_at=created_at, email=user.email, name=user.name
                ),
            )
            return attempt.record(201, {"id": user.id, "email": user.email, "name": user.name})

    async def account(self, email: str) -> Account | None:
        row = await self._pool.fetchrow(
            "SELECT user_id, email, name, password_hash FROM users WHERE email = $1", email
        )
        return Account(_user(row), row["password_hash"]) if row else None

    async def user(self, user_id: str) -> User | None:
        row = await self._pool.fetchrow(
            "SELECT user_id, email, name FROM users WHERE user_id = $1", user_id
        )
        return _user(row) if row else None

    async def open_session(self, session: Session, now: datetime) -> None:
        """Insert the session and delete the user's expired ones, so that no sweeper is needed."""
        await self._pool.execute(
            "WITH expired AS (DELETE FROM sessions WHERE user_id = $2 AND expires_at <= $5) "
            "INSERT INTO sessions (session_id, user_id, token_digest, expires_at) "
            "VALUES ($1, $2, $3, $4)",
            session.id, session.user_id, session.token_digest, session.expires_at, now,
        )  # fmt: skip

    async def rotate_session(
        self, session_id: str, old: bytes, new: bytes, now: datetime
    ) -> User | None:
        """Replace the digest. If `old` is not the newest or has expired, delete the session and return None."""
        # one conditional update: of two requests with the same token only one succeeds
        row = await self._pool.fetchrow(
            "UPDATE sessions s SET token_digest = $3 FROM users u "
            "WHERE s.session_id = $1 AND s.token_digest = $2 AND s.expires_at > $4 "
            "AND u.user_id = s.user_id RETURNING u.user_id, u.email, u.name",
            session_id, old, new, now,
        )  # fmt: skip
        if row:
            return _user(row)
        # expired, or an old token was used again, perhaps by a thief: everyone must log in again
        await self.end_session(session_id)
        return None

    async def end_session(self, session_id: str) -> None:
        await self._pool.execute("DELETE FROM sessions WHERE session_id = $1", session_id)

    async def delete_user(self, user_id: str) -> User | None:
        """Delete the account; its sessions end with it."""
        row = await self._pool.fetchrow(
            "DELETE FROM users WHERE user_id = $1 RETURNING user_id, email, name", user_id
        )
        return _user(row) if row else None

    async def ended_sessions(self) -> list[str]:
        """The sessions that ended and are not announced yet."""
        rows = await self._pool.fetch("SELECT session_id FROM ended_sessions")
        return [row["session_id"] for row in rows]

    async def announced(self, session_ids: list[str]) -> None:
        """Forget these ended sessions."""
        await self._pool.execute(
            "DELETE FROM ended_sessions WHERE session_id = ANY($1)", session_ids
        )


async def signing_keys(
    pool: Pool, now: datetime, rotation: timedelta, token_life: timedelta
) -> list[SigningKey]:
    """The keys in use. Adds the next one if it is due and deletes expired ones, one instance at a time."""
    async with pool.acquire() as conn, conn.transaction():
        await conn.execute("SELECT pg_advisory_xact_lock(hashtext('signing_keys'))")
        rows = await conn.fetch("SELECT kid, secret, signs_from FROM signing_keys")
        keys = [SigningKey(row["kid"], row["secret"], row["signs_from"]) for row in rows]
        new = successor(keys, now, rotation)
        if new is not None:
            await conn.execute(
                "INSERT INTO signing_keys (kid, secret, signs_from) VALUES ($1, $2, $3)",
                new.kid, new.secret, new.signs_from,
            )  # fmt: skip
            keys.append(new)
        in_use = published(keys, now, token_life)
        kids = [key.kid for key in in_use]
        await conn.execute("DELETE FROM signing_keys WHERE kid <> ALL($1::text[])", kids)
        return in_use


def _user(row: Record) -> User:
    return User(row["user_id"], row["email"], row["name"])
