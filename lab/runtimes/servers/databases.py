"""Creates a missing role and database for each service: `python -m lab.runtimes.servers.databases`.

A short process of its own, so that the supervisor does not keep a database driver in memory.
Reads ADMIN_URL and PASSWORDS ({name: password}) from the environment.
"""

import asyncio
import json
import os
from collections.abc import Mapping

import asyncpg

# Copying files is twice as fast as logging each page, and nothing here is replicated.
STRATEGY = "STRATEGY file_copy"


async def ensure(admin_url: str, passwords: Mapping[str, str]) -> None:
    """A database `name` owned by the role `name` for each name; sets the role's password."""
    admin = await asyncpg.connect(admin_url)
    try:
        await admin.execute("\n".join(_role(name, passwords[name]) for name in passwords))
        existing = {row["datname"] for row in await admin.fetch("SELECT datname FROM pg_database")}
        missing = [name for name in passwords if name not in existing]
        await asyncio.gather(*(_create(admin_url, name) for name in missing))
        # by default PUBLIC may connect to any database; a service may use its own only
        await admin.execute("\n".join(_close(name) for name in passwords))
    finally:
        await admin.close()


async def drop(admin_url: str, name: str) -> None:
    """Drop the database and the role, also while clients are connected."""
    admin = await asyncpg.connect(admin_url)
    try:
        await admin.execute(f"DROP DATABASE IF EXISTS {_quoted(name)} WITH (FORCE)")
        await admin.execute(f"DROP ROLE IF EXISTS {_quoted(name)}")
    finally:
        await admin.close()


async def _create(admin_url: str, name: str) -> None:
    admin = await asyncpg.connect(admin_url)
    try:
        await admin.execute(f"CREATE DATABASE {_quoted(name)} OWNER {_quoted(name)} {STRATEGY}")
    finally:
        await admin.close()


def _close(name: str) -> str:
    return f"REVOKE CONNECT ON DATABASE {_quoted(name)} FROM PUBLIC;"


def _role(name: str, password: str) -> str:
    # Names come from the topology (identifiers) and passwords are hexadecimal; DDL takes no parameters.
    if not name.isidentifier() or not password.isalnum():
        raise ValueError(f"{name!r} cannot be a role")
    return f"""
DO $$ BEGIN CREATE ROLE {_quoted(name)} LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
ALTER ROLE {_quoted(name)} PASSWORD '{password}';"""


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


if __name__ == "__main__":
    asyncio.run(ensure(os.environ["ADMIN_URL"], json.loads(os.environ["PASSWORDS"])))
