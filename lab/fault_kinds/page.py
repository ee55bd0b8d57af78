"""The page docs/faults.md: the text of page.md.template, with a table of each group of faults."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from chassis.faults.catalogue import AT_POINT, entries
from chassis.faults.scope import AT, COUNTED, INSTANCE
from lab.fault_kinds import edges, failpoints, processes
from lab.fault_kinds.examples import EXAMPLES

Rows = Iterator[tuple[str, ...]]


def page(confirmed: Iterable[tuple[str, ...]]) -> str:
    """The whole page. confirmed: (fault, effect), what confirms it."""
    text = Path(__file__).with_name("page.md.template").read_text().rstrip()
    return text.format(
        points=_table("point", "exchange", "scope keys", rows=_points()),
        instance=_code(INSTANCE),
        counted=_code(COUNTED),
        kinds=_table("kind", "what it does", "attributes", "points", rows=_kinds()),
        confirmed=_table("fault", "seen by: least effect", rows=iter(confirmed)),
        failpoints=_table(
            "service",
            "failpoint",
            "state of the work there",
            "place in `system/shop/`",
            rows=_failpoints(),
        ),
        processes=_table("kind", "what it does", "ends", rows=_processes()),
        edges=_table("kind", "what it does", "attributes", "direction", rows=_edges()),
        examples=_table("fault", "`lab faults add`", rows=_examples()),
    )


def _points() -> Rows:
    for point, exchange in AT_POINT.items():
        yield point, exchange, _code(AT.get(point, ()))


def _kinds() -> Rows:
    for entry in entries():
        attributes = [
            f"**`{name}`**" if default is None else f"`{name}`={default}"
            for name, default in entry["attributes"].items()
        ]
        doc = (
            entry["doc"]
            + "; one at a time" * entry["single"]
            + "; outlives restarts" * entry["survives"]
        )
        yield _code([entry["kind"]]), doc, _listed(attributes), _listed(entry["points"])


def _failpoints() -> Rows:
    for each in failpoints.failpoints():
        state, _ = failpoints.DESCRIPTIONS[each.template]
        yield each.template.partition(".")[0], _code(each.names), state, each.place


def _processes() -> Rows:
    for kind, each in processes.KINDS.items():
        yield _code([kind]), each.doc, "at its TTL" if each.lasts else "when it is ready again"


def _edges() -> Rows:
    for kind, each in edges.KINDS.items():
        attributes = [f"**`{n}`**" if n in each.required else f"`{n}`" for n in each.attributes]
        yield _code([kind]), each.doc, _listed(attributes), each.stream


def _examples() -> Rows:
    for fault, command in EXAMPLES.items():
        yield fault, _code([command])


def _table(*columns: str, rows: Rows) -> str:
    lines = [" | ".join(row) for row in (columns, *rows)]
    return "\n".join(
        [f"| {lines[0]} |", "|---" * len(columns) + "|", *(f"| {line} |" for line in lines[1:])]
    )


def _code(names: Iterable[str]) -> str:
    return _listed([f"`{name}`" for name in names])


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words) or "none"
