"""The audit queries of the services return the columns that the analysis reads."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from chassis.clock import SystemClock
from chassis.postgres.database import apply_schema, open_pool
from lab.run.evidence.database_audit import named_queries

COLUMNS = {
    "payments": {
        "payments": "payment_id order_id user_id status amount_cents currency captured_cents"
        " refunded_cents authorization_id reason created_at updated_at",
        "operations": "order_id kind key status at",
    },
    "bank": {
        "authorizations": "authorization_id reference idempotency_key status amount_cents"
        " captured_cents refunded_cents currency card_last4 reason created_at",
        "ledger": "entry_id authorization_id reference kind amount_cents idempotency_key at",
    },
    "inventory": {
        "stock": "sku initial on_hand reserved shipped version",
        "reservations": "order_id sku quantity status expires_at updated_at",
    },
    "notifications": {
        "mails": "notification_id event_id user_id order_id kind status recipient subject body_text"
        " created_at sent_at message_id",
        "inbox": "event_id handler processed_at",
    },
}


@pytest.mark.parametrize("service", list(COLUMNS))
async def test_audit_queries_give_the_columns_of_the_archive(
    service: str, database: Callable[[str], str]
) -> None:
    home = Path(str(import_module(f"shop.{service}").__file__)).parent
    queries = named_queries((home / "audit.sql").read_text(), service)
    pool = await open_pool(database(service), size_max=2, clock_s=SystemClock().monotonic)
    try:
        await apply_schema(pool, home / "schema.sql", None)
        async with pool.acquire() as conn:
            attributes = {
                name: (await conn.prepare(query)).get_attributes()
                for name, query in queries.items()
            }
    finally:
        pool.terminate()
    given = {name: " ".join(column.name for column in found) for name, found in attributes.items()}
    assert given == COLUMNS[service]
    assert "uuid" not in {column.type.name for found in attributes.values() for column in found}
