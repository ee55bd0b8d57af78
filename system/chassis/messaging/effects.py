"""What a consumed event does to the store. It is recorded with the event, so that it happens once."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from asyncpg import Pool

from chassis.messaging.event import Event
from chassis.postgres.connection import Conn

HANDLED, DUPLICATE, EARLY = "handled", "duplicate", "early"


@dataclass(frozen=True, slots=True)
class Rows:
    """A handler that stores one row for each event: one statement stores those of many events, with their records.

    insert   an INSERT of the rows whose event is in `fresh (event_id)`, RETURNING the `event_id` of each; its
             parameters are the columns of the rows, arrays from $4 on
    row      the values of an event's row, made of the event and the traceparent of its handling
    stored   is called with the stored rows after the commit
    """

    insert: str
    row: Callable[[Any, str], Sequence[Any]]
    stored: Callable[[list[Any]], None]


# A handler that is a function runs in the transaction that records its event.
Handler = Callable[[Conn, Any], Awaitable[None]] | Rows


@dataclass(slots=True)
class Consumed:
    """An event with its handler and the traceparent of its span. The events `after` must take effect before it."""

    event: Event
    handler: Handler
    after: Sequence[str] = ()
    traceparent: str = ""


# `due`: all earlier events are in the inbox
_RECORD = """
WITH given AS MATERIALIZED (
    SELECT event_id, handler, NOT EXISTS (
        SELECT FROM unnest(string_to_array(after, ',')) AS earlier (event_id)
        WHERE NOT EXISTS (SELECT FROM inbox WHERE inbox.event_id = earlier.event_id)) AS due
    FROM unnest($1::text[], $2::text[], $3::text[]) AS given (event_id, handler, after)
), fresh AS (
    INSERT INTO inbox (event_id, handler) SELECT event_id, handler FROM given WHERE due
    ON CONFLICT DO NOTHING RETURNING event_id
)"""
_RESULT = f"""
CASE WHEN NOT due THEN '{EARLY}' WHEN fresh.event_id IS NULL THEN '{DUPLICATE}' ELSE '{HANDLED}' END AS result
FROM given LEFT JOIN fresh ON fresh.event_id = given.event_id
"""


async def take_effect(pool: Pool, group: Sequence[Consumed]) -> list[str]:
    """HANDLED, DUPLICATE or EARLY for each event. A group has several events only if they share a Rows' `insert`.

    All take effect or, on an error, none.
    """
    first = group[0].handler
    if isinstance(first, Rows):
        made = [(each, each.handler) for each in group if isinstance(each.handler, Rows)]
        rows = [handler.row(each.event, each.traceparent) for each, handler in made]
        sql = (
            f"{_RECORD}, effect AS ({first.insert}) "  # noqa: S608 -- no value in it
            "SELECT given.event_id, given.event_id IN (SELECT event_id FROM effect) AS stored, "
            f"{_RESULT}"
        )
        values = _columns(group), map(list, zip(*rows, strict=True))
        found = await pool.fetch(sql, *(column for part in values for column in part))
        results = {row["event_id"]: row["result"] for row in found}
        stored = {row["event_id"] for row in found if row["stored"]}
        first.stored(
            [
                row
                for row, (each, _) in zip(rows, made, strict=True)
                if each.event.event_id in stored
            ]
        )
        return [results[each.event.event_id] for each in group]
    async with pool.acquire() as conn, conn.transaction():
        result: str = await conn.fetchval(f"{_RECORD} SELECT {_RESULT}", *_columns(group))
        if result == HANDLED:
            await first(conn, group[0].event)
    return [result]


def can_join(group: Sequence[Consumed], event: Consumed) -> bool:
    """Whether one statement can store the event with the group: rows of the same kind, and none awaits another."""
    first, handler = group[0].handler, event.handler
    if not (isinstance(first, Rows) and isinstance(handler, Rows)):
        return False
    ids = {each.event.event_id for each in group}
    return handler.insert == first.insert and ids.isdisjoint((event.event.event_id, *event.after))


def _columns(group: Sequence[Consumed]) -> tuple[list[str], list[str], list[str]]:
    return (
        [each.event.event_id for each in group],
        [each.event.type for each in group],
        [",".join(each.after) for each in group],
    )
