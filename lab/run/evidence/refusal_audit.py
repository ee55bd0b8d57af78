"""Sends the shop what no shopper can send: tokens that only the lab can forge, and a direct call of a service.

Each must be refused. The table `lab.refusals` has one row each; its first row is the control, a good token.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import asyncpg
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chassis.http.auth import ISSUER, USER_AUDIENCE
from lab.http_client import NoReplyError, exchange
from lab.run.evidence.database_audit import CONNECT_S, AuditError, write_rows

COLUMNS = {"name": "VARCHAR", "route": "VARCHAR", "expected": "INTEGER", "status": "INTEGER",
           "shown": "BIGINT"}  # fmt: skip
LIFE_S = 60
_KEY = "SELECT kid, secret FROM signing_keys WHERE signs_from <= now() ORDER BY signs_from DESC LIMIT 1"
_MAIL = "SELECT order_id::text AS order_id, user_id::text AS user_id FROM mails WHERE order_id IS NOT NULL LIMIT 1"
_USER = "SELECT user_id, email, name FROM users WHERE user_id::text <> $1 ORDER BY user_id LIMIT 1"


@dataclass(frozen=True)
class Row:
    """One request: the status that it must get and that it got (0: no answer), and the items it showed."""

    name: str
    route: str
    expected: int
    status: int
    shown: int = 0


def audit_refusals(
    run_dir: Path, ingress_url: str, services: Mapping[str, str], databases: Mapping[str, str]
) -> None:
    """Write state/lab.refusals.parquet. `services`: base URL by service. Raises AuditError."""
    if not {"users", "notifications"} <= set(databases):
        return
    try:
        key, mail, user = asyncio.run(_facts(databases["users"], databases["notifications"]))
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise AuditError(f"refusals: {error or type(error).__name__}") from error
    if not key or not user:
        return
    tokens = forged_tokens(key, user, time.time())
    rows = []
    for name, token in tokens.items():
        status, _ = _ask(f"{ingress_url}/api/me", token)
        rows.append(Row(name, "GET /api/me", 200 if name == "good token" else 401, status))
    if mail and (address := services.get("notifications")):
        url = f"{address}/notifications?order_id={mail['order_id']}"
        status, body = _ask(url, tokens["good token"])
        shown = len(body.get("items", ())) if isinstance(body, dict) else 0
        rows.append(Row("another customer's mails", "GET /notifications", 200, status, shown))
    write_rows(run_dir / "state/lab.refusals.parquet", COLUMNS, [asdict(row) for row in rows])


def forged_tokens(key: Mapping[str, Any], user: Mapping[str, Any], now_s: float) -> dict[str, str]:
    """Tokens of the user that the shop's own key has signed; all but the first must be refused."""
    good = {
        "sub": str(user["user_id"]), "email": user["email"], "name": user["name"],
        "iss": ISSUER, "aud": USER_AUDIENCE, "iat": int(now_s), "exp": int(now_s) + LIFE_S,
    }  # fmt: skip
    changes: dict[str, dict[str, Any]] = {
        "good token": {},
        "expired token": {"exp": int(now_s) - LIFE_S},
        "token for another audience": {"aud": "another-shop"},
        "token of another issuer": {"iss": "another-issuer"},
    }
    secret, header = Ed25519PrivateKey.from_private_bytes(key["secret"]), {"kid": key["kid"]}
    tokens = {
        name: jwt.encode(good | change, secret, "EdDSA", headers=header)
        for name, change in changes.items()
    }
    stranger = Ed25519PrivateKey.generate()
    tokens["token signed by a stranger"] = jwt.encode(good, stranger, "EdDSA", headers=header)
    return tokens


async def _facts(users_url: str, mails_url: str) -> tuple[Any, Any, Any]:
    """The signing key, a mail for an order, and a user who is not its recipient."""
    users = await asyncpg.connect(users_url, timeout=CONNECT_S)
    mails = await asyncpg.connect(mails_url, timeout=CONNECT_S)
    try:
        mail = await mails.fetchrow(_MAIL)
        user = await users.fetchrow(_USER, mail["user_id"] if mail else "")
        return await users.fetchrow(_KEY), mail, user
    finally:
        await users.close(timeout=CONNECT_S)
        await mails.close(timeout=CONNECT_S)


def _ask(url: str, token: str) -> tuple[int, Any]:
    try:
        reply = exchange("GET", url, token=token)
    except NoReplyError:
        return 0, None
    return reply.status, reply.body
