"""The catalogue as data and as a page: every fault of the registry with its points and attributes."""

from collections.abc import Iterator
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

from chassis.faults.fault import CATALOGUE, PROCESS, START, points_of
from chassis.faults.scope import AT, COUNTED, WHO

INTRODUCTION = """\
# Faults inside the services

Printed by `lab faults list --doc` from the registry in `system/chassis/faults/`. The faults on the wire are in
[proxy.md](proxy.md); how to add one here is in [adding_a_fault.md](adding_a_fault.md).

```
lab faults add bank latency latency_ms=2000 --scope route=/authorizations --ttl 30
lab faults add inventory sql_error sqlstate=40001 --point database --scope method=COMMIT --scope share=0.2
lab faults add orders burn_cpu duty_percent=80 workers=2
lab faults list && lab faults clear && lab faults audit
```

Every fault has a TTL which the process itself enforces, whoever asked for it and whoever died since. When it ends,
by TTL or by hand, it is undone exactly: limits, clock, memory, connections, locks and helper processes are as
before, and `lab faults audit` proves it. Each records when it was commanded, effective and removed, and how often
it hit; chance comes from its seed. A service takes faults only in a lab and from who holds the lab's token.

Those that outlive restarts are kept in `$LAB_FAULTS/<instance>.json`; their TTL counts from the command. An
instance started without `LAB_FAULTS` refuses them.
"""
SCOPES = """\
## Whom it hits
`--scope key=value`, several of them together. Counted over what the others let through: `share` (0 to 1, drawn
from the seed), `first_n`, `every_k`. `arm` and `version` choose instances. Beyond these a point has:
"""
AT_POINT = {
    "inbound": "a request that comes in; `route` is how its path begins",
    "outbound": "a request to another service; `route` is how its path begins",
    "database": "one statement; `route` is how it begins, `method` its first word (UPDATE, COMMIT)",
    "publish": "a message to the broker; `route` is how its subject begins (`events.OrderPlaced`)",
    "consume": "the handling of an event; `route` is how its subject begins",
    "cache": "a command; `route` is how the key begins, `method` GET, SET, LOCK or DELETE",
    "registry": "`method` HEARTBEAT (ours) or WATCH (news of the others); `route` an instance",
    "failpoint": "a named place in the code",
    START: "once at each start, before the instance is ready",
    PROCESS: "the whole process, from the beginning of the fault to its end",
}


@dataclass(frozen=True)
class Entry:
    """One fault; `attributes` maps each name to its default, None where it is required."""

    kind: str
    doc: str
    points: tuple[str, ...]
    attributes: dict[str, Any]
    single: bool
    survives: bool

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def entries() -> Iterator[Entry]:
    """Every registered fault, in the registry's order."""
    for kind, make in CATALOGUE.items():
        yield Entry(
            kind,
            make.doc,
            points_of(make),
            {
                each.name: None if each.default is MISSING else each.default
                for each in fields(make)
                if each.init
            },
            getattr(make, "single", False),
            getattr(make, "survives", False),
        )


def page() -> str:
    """docs/faults.md."""
    return "\n".join([INTRODUCTION, *_scopes(), "", *_faults(), ""])


def _scopes() -> Iterator[str]:
    yield SCOPES
    yield "| point | what | its own scope keys |"
    yield "|---|---|---|"
    for point, what in AT_POINT.items():
        keys = ", ".join(f"`{key}`" for key in AT.get(point, ())) or "none"
        yield f"| {point} | {what} | {keys} |"
    yield ""
    yield f"At {START} and {PROCESS} only {_listed(WHO)} mean something, not {_listed(COUNTED)}."


def _faults() -> Iterator[str]:
    yield "## The faults"
    yield "A bold attribute is required. The first point is the one that is meant when none is named."
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
