"""The audit: named queries on real databases become typed Parquet, mails included."""

import os
from collections.abc import Callable
from pathlib import Path

import asyncpg
import duckdb
import pytest

from lab.archive import AUDIT_TABLES
from lab.run.evidence.database_audit import SERVICES, AuditError, _audit_all, audit, named_queries

SQL = """
-- name: orders
SELECT order_id, total_cents, placed_at, paid, details FROM orders ORDER BY order_id;

-- name: nothing
SELECT order_id FROM orders WHERE false;
"""


@pytest.fixture
def services(tmp_path: Path) -> Path:
    folder = tmp_path / "services/orders"
    folder.mkdir(parents=True)
    (folder / "audit.sql").write_text(SQL)
    return folder.parent


@pytest.fixture
async def orders_url(database: Callable[[str], str]) -> str:
    url: str = database("orders_audit")
    connection = await asyncpg.connect(url)
    await connection.execute(
        "CREATE TABLE orders (order_id text, total_cents bigint, placed_at timestamptz, paid boolean,"
        " details jsonb);"
        "INSERT INTO orders VALUES ('a', 5000000000, '2026-11-21 10:00:00+00', true, '{\"n\": 1}'),"
        " ('b', NULL, NULL, false, NULL)"
    )
    await connection.close()
    return url


def table(path: Path) -> duckdb.DuckDBPyRelation:
    return duckdb.read_parquet(str(path))


async def test_each_named_query_becomes_a_typed_table(
    tmp_path: Path, services: Path, orders_url: str
) -> None:
    rows = await _audit_all(tmp_path, {"orders": orders_url}, services)
    assert rows == {"orders.orders": 2, "orders.nothing": 0}
    orders = table(tmp_path / "orders.orders.parquet")
    kinds = dict(zip(orders.columns, map(str, orders.types), strict=True))
    assert kinds == {
        **{"order_id": "VARCHAR", "total_cents": "BIGINT", "paid": "BOOLEAN"},
        **{"placed_at": "TIMESTAMP WITH TIME ZONE", "details": "VARCHAR"},
    }
    found = orders.project("order_id, total_cents, epoch(placed_at), paid").order("order_id")
    assert found.fetchall() == [("a", 5_000_000_000, 1795255200.0, True), ("b", None, None, False)]


async def test_a_query_without_rows_is_an_empty_table_with_its_columns(
    tmp_path: Path, services: Path, orders_url: str
) -> None:
    await _audit_all(tmp_path, {"orders": orders_url}, services)
    empty = table(tmp_path / "orders.nothing.parquet")
    assert empty.columns == ["order_id"]
    assert empty.fetchall() == []


async def test_a_database_that_is_down_is_an_error_with_its_name(
    tmp_path: Path, services: Path
) -> None:
    with pytest.raises(AuditError, match="orders: "):
        await _audit_all(tmp_path, {"orders": "postgresql://x:y@127.0.0.1:1/z"}, services)


async def test_a_database_without_audit_queries_is_an_error(tmp_path: Path, services: Path) -> None:
    with pytest.raises(AuditError, match=r"bank has a database but no .*audit\.sql"):
        await _audit_all(tmp_path, {"bank": "postgresql://unused"}, services)


def test_mails_are_audited_beside_the_databases(tmp_path: Path) -> None:
    (tmp_path / "mail").mkdir()
    (tmp_path / "mail/1.eml").write_text(
        "From: shop@example.com\nTo: user001@example.com\nMessage-ID: <1@shop>\n"
        "Subject: =?utf-8?q?Ihre_Bestellung_=C3=BC?=\n"
        "X-Order-Id: abc\n\nThank you.\n"
    )
    assert audit(tmp_path, {}, tmp_path / "mail") == {"mail.messages": 1}
    mails = table(tmp_path / "state/mail.messages.parquet")
    assert mails.project("recipient, subject, message_id, order_id").fetchall() == [
        ("user001@example.com", "Ihre Bestellung ü", "<1@shop>", "abc")
    ]


def test_mails_from_before_the_run_are_not_audited(tmp_path: Path) -> None:
    (tmp_path / "mail").mkdir()
    for name, arrived_s in (("old", 100.0), ("new", 200.0)):
        (tmp_path / f"mail/{name}.eml").write_text("Subject: x\n\n")
        os.utime(tmp_path / f"mail/{name}.eml", (arrived_s, arrived_s))
    audit(tmp_path, {}, tmp_path / "mail", since_s=150.0)
    mails = table(tmp_path / "state/mail.messages.parquet")
    assert mails.project("file").fetchall() == [("new.eml",)]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("SELECT 1;", "expected queries with `-- name: something`"),
        ("-- name: a\n\n-- name: b\nSELECT 1;", "a is empty"),
        ("-- name: a\nSELECT 1;\n-- name: a\nSELECT 2;", "a is there twice"),
    ],
)
def test_an_audit_file_with_a_missing_or_repeated_name_is_refused(
    text: str, complaint: str
) -> None:
    with pytest.raises(AuditError, match=complaint):
        named_queries(text, "audit.sql")


def test_the_audit_file_of_every_service_is_valid() -> None:
    files = list(SERVICES.glob("*/audit.sql"))
    assert files
    for file in files:
        assert named_queries(file.read_text(), str(file))


def test_the_list_of_audit_tables_is_that_of_the_services_queries() -> None:
    audited = {
        f"{file.parent.name}.{query}"
        for file in SERVICES.glob("*/audit.sql")
        for query in named_queries(file.read_text(), str(file))
    }
    assert {*audited, "mail.messages"} == set(AUDIT_TABLES)
