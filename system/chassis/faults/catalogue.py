"""The catalogue as data and as a page: every registered fault with its points and attributes."""

from collections.abc import Iterator
from dataclasses import MISSING, asdict, dataclass
from typing import Any

from chassis.faults.fault import CATALOGUE, PROCESS, START, fields_of
from chassis.faults.scope import AT, COUNTED, INSTANCE

INTRODUCTION = """\
# Faults

Printed by `lab faults list --doc` from the code. There are faults inside the services (this section), of whole
processes, and of edges. [adding_a_fault.md](adding_a_fault.md) describes how to add one.

```
lab faults add bank latency latency_ms=2000 --scope route=/authorizations --ttl 30
lab faults add inventory sql_error sqlstate=40001 --point database --scope method=COMMIT --scope share=0.2
lab faults add orders burn_cpu duty_percent=80 workers=2
lab faults list && lab faults clear && lab faults audit
```

Every fault has a TTL. The service itself enforces it, even if the commander is dead. When a fault ends, it is
removed exactly: limits, clock, memory, connections, locks and helper processes are as before, and `lab faults
audit` checks that. Each fault records when it was commanded, effective and removed, and its number of hits. Its
random draws come from its seed. A service accepts faults only in a lab, with the lab's token.

Faults that outlive restarts are saved in `$LAB_FAULTS/<instance>.json`; their TTL counts from the command. An
instance without `LAB_FAULTS` refuses them.
"""
SCOPES = """\
## Scope
The scope selects what a fault hits: `--scope key=value`, several keys together. Three keys count the exchanges
that match the others: `share` (0 to 1, drawn from the seed), `first_n`, `every_k`. `arm` and `version` select
instances. Each point has further keys:
"""
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


@dataclass(frozen=True)
class Entry:
    """One kind; `attributes` maps each name to its default, None if it is required."""

    kind: str
    doc: str
    points: tuple[str, ...]
    attributes: dict[str, Any]
    single: bool
    survives: bool

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def entries() -> Iterator[Entry]:
    """Every registered kind, in the registry's order."""
    for kind, make in CATALOGUE.items():
        yield Entry(
            kind,
            make.doc,
            make.points,
            {
                each.name: None if each.default is MISSING else each.default
                for each in fields_of(make)
                if each.init
            },
            make.single,
            make.survives,
        )


def page() -> str:
    """The part of docs/faults.md on faults inside the services."""
    return "\n".join([INTRODUCTION, *_scopes(), "", *_faults()])


def _scopes() -> Iterator[str]:
    yield SCOPES
    yield "| point | exchange | scope keys |"
    yield "|---|---|---|"
    for point, what in AT_POINT.items():
        keys = ", ".join(f"`{key}`" for key in AT.get(point, ())) or "none"
        yield f"| {point} | {what} | {keys} |"
    yield ""
    yield f"At {START} and {PROCESS} only {_listed(INSTANCE)} can be used, not {_listed(COUNTED)}."


def _faults() -> Iterator[str]:
    yield "## Faults inside the services"
    yield "A bold attribute is required. The first point is the default."
    yield ""
    yield "| kind | what it does | attributes | points |"
    yield "|---|---|---|---|"
    for entry in entries():
        attributes = (
            f"**`{name}`**" if default is None else f"`{name}`={default}"
            for name, default in entry.attributes.items()
        )
        doc = entry.doc + "; one at a time" * entry.single + "; outlives restarts" * entry.survives
        yield f"| `{entry.kind}` | {doc} | {', '.join(attributes) or 'none'} | {', '.join(entry.points)} |"


def _listed(words: tuple[str, ...]) -> str:
    return ", ".join(f"`{word}`" for word in words)
