"""Faults at the database, measured by PostgreSQL's statistics and the pool's gauge."""

import threading
import time
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from tests.chassis.subject import Subject
from tests.fixtures.servers import run_apart
from tests.fixtures.waiting import wait_until

Query = Callable[..., list[Any]]


@pytest.fixture
def query(postgres: str, subject: Subject) -> Query:
    """Queries the server as its administrator, in the subject's database."""
    url = postgres.rpartition("/")[0] + "/" + subject.database.rpartition("/")[2]

    def ask(sql: str, *args: Any) -> list[Any]:
        async def answer() -> list[Any]:
            conn = await asyncpg.connect(url)
            try:
                return [tuple(row) for row in await conn.fetch(sql, *args)]
            finally:
                await conn.close()

        return run_apart(answer())

    return ask


def rolled_back(query: Query) -> int:
    (count,) = query(
        "SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()"
    )[0]
    return int(count)


def test_a_delayed_commit_keeps_its_transaction_open(subject: Subject, query: Query) -> None:
    fault = subject.add(
        "latency", attributes={"latency_ms": 600}, point="database", scope={"method": "COMMIT"}
    )  # fmt: skip
    answered: list[Any] = []
    asking = threading.Thread(target=lambda: answered.append(subject.ask("POST", "/rows/1")))
    asking.start()
    open_for_s = wait_until(
        lambda: query(
            "SELECT extract(epoch FROM now() - xact_start) FROM pg_stat_activity "
            "WHERE state = 'idle in transaction' AND query LIKE 'INSERT INTO rows%' "
            "AND now() - xact_start > interval '200 ms'"
        ),
        "an open transaction",
    )
    asking.join()
    subject.lab("DELETE", f"faults/{fault['fault_id']}")
    assert float(open_for_s[0][0]) >= 0.2
    assert answered[0].status == 201
    assert answered[0].seconds >= 0.6
    wait_until(lambda: subject.ask("POST", "/rows/1").seconds < 0.3, "a commit without the delay")


def test_a_delay_counts_against_the_statements_timeout(subject: Subject) -> None:
    subject.add("stall", point="database", scope={"route": "SELECT 1", "first_n": 1})
    reply = subject.ask("GET", "/one", timeout_s=30)  # the stall has a TTL of 30 s
    assert reply.status >= 500
    assert reply.seconds >= 1.4


@pytest.mark.parametrize(
    ("sqlstate", "error"), [("40P01", "DeadlockDetected"), ("40001", "SerializationError")]
)
def test_an_sql_error_is_raised_by_the_server_and_rolls_the_transaction_back(
    subject: Subject, query: Query, sqlstate: str, error: str
) -> None:
    before, logged = rolled_back(query), len(subject.log.read_text())
    # not only the first COMMIT: the relay of the outbox may commit before the request does
    fault = subject.add(
        "sql_error", attributes={"sqlstate": sqlstate}, scope={"method": "COMMIT"}
    )  # fmt: skip
    assert subject.ask("POST", "/rows/77").status >= 500
    subject.lab("DELETE", f"faults/{fault['fault_id']}")
    assert query("SELECT count(*) FROM rows WHERE number = 77") == [(0,)]
    assert error in subject.log.read_text()[logged:]
    # a backend reports its counts when it is idle for a second, or with its next statements
    wait_until(lambda: subject.ask("GET", "/one").status == 200 and rolled_back(query) > before,
          "PostgreSQL to count the rollback")  # fmt: skip
    (count,) = query("SELECT count(*) FROM rows WHERE number = 78")[0]
    assert subject.ask("POST", "/rows/78").status == 201
    assert query("SELECT count(*) FROM rows WHERE number = 78") == [(count + 1,)]


def test_a_read_only_database_refuses_writes_and_answers_reads(
    subject: Subject, query: Query
) -> None:
    fault = subject.add("read_only")
    assert subject.ask("POST", "/rows/5").status >= 500
    assert "read-only" in subject.ask("GET", "/ready").body["missing"]["database"]
    assert "ReadOnlySQLTransactionError" in subject.log.read_text()
    assert subject.ask("GET", "/rows").status == 200
    assert query("SELECT count(*) FROM rows WHERE number = 5") == [(0,)]
    subject.lab("DELETE", f"faults/{fault['fault_id']}")
    # every connection of the pool writes again: nothing is left in their sessions
    assert {subject.ask("POST", "/rows/6").status for _ in range(15)} == {201}


def test_a_lost_commit_takes_effect_although_the_caller_gets_an_error(
    subject: Subject, query: Query
) -> None:
    fault = subject.add("lost_ack", point="database", scope={"method": "COMMIT"})
    assert subject.ask("POST", "/rows/88").status >= 500
    subject.lab("DELETE", f"faults/{fault['fault_id']}")
    assert query("SELECT count(*) FROM rows WHERE number = 88") == [(1,)]


def test_a_database_that_is_down_loses_the_connections(subject: Subject, query: Query) -> None:
    mine = "SELECT pid FROM pg_stat_activity WHERE usename = $1 AND pid <> pg_backend_pid()"
    user = subject.database.rpartition("/")[2]
    before = set(query(mine, user))
    fault = subject.add("down", point="database")
    assert subject.ask("GET", "/one").status >= 500
    assert subject.ask("GET", "/ready").status == 503
    assert subject.ask("GET", "/health").status == 200
    wait_until(lambda: before - set(query(mine, user)), "the connection that was used to be gone")
    subject.lab("DELETE", f"faults/{fault['fault_id']}")
    wait_until(lambda: subject.ask("GET", "/ready").status == 200, "ready again")
    assert subject.ask("GET", "/one").status == 200


def test_a_held_lock_makes_writers_wait_until_its_end(subject: Subject, query: Query) -> None:
    locks = (
        "SELECT mode FROM pg_locks JOIN pg_class ON oid = relation "
        "WHERE relname = 'rows' AND granted AND mode = 'ExclusiveLock'"
    )
    began = time.monotonic()
    subject.add("lock", attributes={"table": "rows"}, ttl_s=0.6)
    assert query(locks) == [("ExclusiveLock",)]
    assert subject.ask("GET", "/rows").status == 200
    assert query(locks) == [("ExclusiveLock",)], "the reader did not wait for the lock"
    assert subject.ask("POST", "/rows/9").status == 201
    assert time.monotonic() - began >= 0.55
    assert query(locks) == []
    assert "no table 'rowz'" in subject.refuse("lock", attributes={"table": "rowz"})


def test_held_connections_are_missing_from_the_pool(subject: Subject) -> None:
    at_rest = subject.metric("db_pool_in_use")
    fault = subject.add("pool_hold", attributes={"connections": 10}, ttl_s=20)
    assert subject.metric("db_pool_in_use") == 10
    reply: list[Any] = []
    asking = threading.Thread(target=lambda: reply.append(subject.ask("GET", "/one", timeout_s=9)))
    asking.start()
    asking.join(0.3)  # it waits in the pool's line
    assert asking.is_alive()
    assert subject.lab("DELETE", f"faults/{fault['fault_id']}").status == 204
    asking.join()
    assert reply[0].status == 200
    wait_until(lambda: subject.metric("db_pool_in_use") <= at_rest + 1, "the pool to be free")
    assert "the pool has 10" in subject.refuse("pool_hold", attributes={"connections": 11})


def test_two_holds_share_the_pool_and_end_independently(subject: Subject) -> None:
    first = subject.add("pool_hold", attributes={"connections": 3})
    second = subject.add("pool_hold", attributes={"connections": 4})
    in_use = subject.metric("db_pool_in_use")
    assert in_use >= 7
    subject.lab("DELETE", f"faults/{first['fault_id']}")
    wait_until(
        lambda: 4 <= subject.metric("db_pool_in_use") <= in_use - 2, "three to be given back"
    )
    assert [each["fault_id"] for each in subject.armed()] == [second["fault_id"]]


def test_a_full_disk_refuses_writes_and_answers_reads(subject: Subject, query: Query) -> None:
    before, logged = rolled_back(query), len(subject.log.read_bytes())
    fault = subject.add("disk_full")
    assert subject.ask("POST", "/rows/31").status >= 500
    assert subject.ask("GET", "/rows").status == 200
    assert query("SELECT count(*) FROM rows WHERE number = 31") == [(0,)]
    assert b"DiskFullError" in subject.log.read_bytes()[logged:]
    wait_until(lambda: subject.ask("GET", "/one").status == 200 and rolled_back(query) > before,
          "PostgreSQL to count the rollback")  # fmt: skip
    assert subject.fault(fault["fault_id"])["hits"] > 0
    subject.lab("DELETE", f"faults/{fault['fault_id']}")
    assert {subject.ask("POST", "/rows/32").status for _ in range(15)} == {201}


def test_a_slow_disk_delays_commits_and_nothing_else(subject: Subject) -> None:
    subject.add("slow_disk", attributes={"latency_ms": 400})
    assert subject.ask("POST", "/rows/33").seconds >= 0.4
    wait_until(lambda: subject.ask("GET", "/rows").seconds < 0.4, "a read without the delay")
