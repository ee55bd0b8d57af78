"""The 500 seeded users of a lab: user001@example.com to user500@example.com, with one password."""

import asyncio
from datetime import UTC, datetime

from chassis.postgres.connection import Conn
from shop.users.passwords import HASHER

USERS = 500
PASSWORD = "correct-horse-breakwater"
CREATED_AT = datetime(2026, 1, 1, tzinfo=UTC)


def user_id(number: int) -> str:
    """The same id in every lab: a UUIDv7 of 2026-01-01 whose last digits are the user's number."""
    return f"019b76da-a800-7000-8000-{number:012d}"


async def seed(conn: Conn) -> None:
    """Add the users unless there are some already. It publishes no events."""
    if await conn.fetchval("SELECT EXISTS (SELECT FROM users)"):
        return
    # one hash for all: 500 hashes would take 15 s
    shared = await asyncio.to_thread(HASHER.hash, PASSWORD)
    await conn.copy_records_to_table(
        "users",
        columns=["user_id", "email", "name", "password_hash", "created_at"],
        records=[
            (user_id(n), f"user{n:03d}@example.com", f"Shopper {n:03d}", shared, CREATED_AT)
            for n in range(1, USERS + 1)
        ],
    )
