"""The catalogue as data: every registered fault with its points and attributes, and what happens at each point."""

from collections.abc import Iterator
from dataclasses import MISSING
from typing import Any

from chassis.faults.fault import CATALOGUE, PROCESS, START, fields_of

AT_POINT = {
    "inbound": "a received request; `route` is the start of its path",
    "outbound": "a request to another service; `route` is the start of its path",
    "database": "one statement; `route` is its start, `method` its first word (UPDATE, COMMIT)",
    "publish": "a message to the broker; `route` is the start of its subject (`events.OrderPlaced`)",
    "consume": "the handling of an event; `route` is the start of its subject",
    "cache": "a command; `route` is the start of the key, `method` GET, SET, LOCK or DELETE",
    "registry": "`method` HEARTBEAT (own lease) or WATCH (changes of the others); `route` an instance",
    "failpoint": "a named place in the code, see [failpoints](#failpoints)",
    START: "once at each start, before the instance is ready",
    PROCESS: "the whole process, from the beginning of the fault to its end",
}


def entries() -> Iterator[dict[str, Any]]:
    """Every registered kind, in the registry's order; `attributes` maps each to its default, None if required."""
    for kind, make in CATALOGUE.items():
        attributes = {
            each.name: None if each.default is MISSING else each.default
            for each in fields_of(make)
            if each.init
        }
        yield {
            "kind": kind,
            "doc": make.doc,
            "points": make.points,
            "attributes": attributes,
            "single": make.single,
            "survives": make.survives,
        }
