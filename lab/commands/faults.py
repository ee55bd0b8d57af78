"""`lab faults list|add|partition|clear|audit`: the faults of the running lab."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer

from chassis.fault_record import FaultRecord
from lab.chaos.faults.client import FaultClient
from lab.chaos.faults.partitions import Partition
from lab.chaos.running_lab import find_lab
from lab.options import AsJson, PortBase
from lab.run.exit_codes import FAILED, clear_exits

Target = Annotated[
    str | None, typer.Argument(help="A service, an instance or an edge. Default: all.")
]

faults = typer.Typer(no_args_is_help=True, help="Faults of the running lab.")


@faults.command("list")
def list_faults(
    target: Target = None,
    history: Annotated[bool, typer.Option(help="Include faults that have ended.")] = False,
    doc: Annotated[bool, typer.Option("--doc", help="Print the catalogue of all kinds.")] = False,
    port_base: PortBase = None,
    as_json: AsJson = False,
) -> None:
    """List the armed faults; with --doc all kinds of faults."""
    if doc:
        _document(as_json)
        return
    with clear_exits(cannot=FAILED):
        client = FaultClient(find_lab(port_base))
        found = client.history(target) if history else client.faults(target)
    _show(found, as_json, "no faults are armed")


@faults.command("add")
def add_fault(
    target: Annotated[
        str,
        typer.Argument(
            help="A service (all its instances), an instance, a server, or an edge ('orders->payments')."
        ),
    ],
    kind: Annotated[str, typer.Argument(help="A kind of `lab faults list --doc`.")],
    attribute: Annotated[
        list[str] | None, typer.Argument(help="Its attributes, e.g. latency_ms=2000.")
    ] = None,
    ttl: Annotated[float, typer.Option(help="Seconds until it ends by itself.")] = 60.0,
    point: Annotated[
        str, typer.Option(help="The point where it acts. Default: the kind's first point.")
    ] = "",
    scope: Annotated[
        list[str] | None, typer.Option(help="What it hits, e.g. route=/authorizations. Repeatable.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The seed of its random draws.")] = 0,
    port_base: PortBase = None,
    as_json: AsJson = False,
) -> None:
    """Arm a fault."""
    spec = {
        "kind": kind,
        "attributes": _pairs(attribute, "attribute"),
        "scope": _pairs(scope, "--scope"),
        "ttl_s": ttl,
        "seed": seed,
        **({"point": point} if point else {}),
    }
    with clear_exits(cannot=FAILED):
        added = FaultClient(find_lab(port_base)).add_fault(target, spec)
    _show(added, as_json, "the target has no instance")


@faults.command("partition")
def add_partition(
    groups: Annotated[
        list[str], typer.Argument(help="Two or more groups, e.g. orders,payments inventory.")
    ],
    ttl: Annotated[float, typer.Option(help="Seconds until it ends by itself.")] = 60.0,
    one_way: Annotated[
        bool, typer.Option("--one-way", help="Cut only from the first group to the second.")
    ] = False,
    port_base: PortBase = None,
    as_json: AsJson = False,
) -> None:
    """Cut every edge between groups of services and servers."""
    with clear_exits(cannot=FAILED):
        cut = Partition.of([group.split(",") for group in groups], one_way=one_way)
        added = FaultClient(find_lab(port_base)).partition(cut, ttl)
    _show(added, as_json, "nothing was cut")


@faults.command("clear")
def clear_faults(
    target: Target = None, port_base: PortBase = None, as_json: AsJson = False
) -> None:
    """Remove all faults, or those of one target."""
    with clear_exits(cannot=FAILED):
        removed = FaultClient(find_lab(port_base)).clear(target)
    typer.echo(json.dumps({"removed": removed}) if as_json else f"{removed} removed")


@faults.command("audit")
def audit_faults(
    target: Target = None, port_base: PortBase = None, as_json: AsJson = False
) -> None:
    """Check that no fault has left anything; exit code 1 if one has, or if that is unknown."""
    from lab.chaos.faults.audit import audit

    with clear_exits(cannot=FAILED):
        audited = audit(FaultClient(find_lab(port_base)), target)
    clean = bool(audited) and not any(each.left for each in audited)
    if as_json:
        instances = [asdict(each) for each in audited]
        typer.echo(json.dumps({"clean": clean, "instances": instances}))
    else:
        for each in audited:
            typer.echo(f"{each.name:<16} {'; '.join(each.left) or 'nothing left'}")
        typer.echo(_sentence(len(audited), sum(bool(each.left) for each in audited)))
    if not clean:
        raise typer.Exit(FAILED)


def _sentence(instances: int, unclean: int) -> str:
    if not instances:
        return "no instance is running: nothing was checked"
    if unclean:
        return f"{unclean} of {instances} instances are not clean: `lab faults clear`, or wait for the TTL"
    return f"{instances} instances: no fault, limit, child process, skew or ballast left"


def _document(as_json: bool) -> None:
    from chassis.faults.catalogue import entries
    from lab.analysis.fault_evidence import documented
    from lab.fault_kinds import edges, page, processes

    if as_json:
        items = [*entries(), *processes.entries(), *edges.entries()]
        typer.echo(json.dumps({"items": items}))
    else:
        typer.echo(page.page(documented.confirmations()))


def _pairs(texts: list[str] | None, what: str) -> dict[str, Any]:
    """Reads `name=value` words; a value is JSON if it can be read as JSON, else text."""
    pairs: dict[str, Any] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise typer.BadParameter(f"{what} {text!r}: expected name=value")
        try:
            pairs[name] = json.loads(value)
        except ValueError:
            pairs[name] = value
    return pairs


def _show(records: list[FaultRecord], as_json: bool, nothing: str) -> None:
    if as_json:
        typer.echo(json.dumps({"items": [each.to_row() for each in records]}))
    elif not records:
        typer.echo(nothing)
    for each in () if as_json else records:
        ttl = f"ttl {each.ttl_s:g} s" if each.ttl_s else "once"
        state = "ended" if each.removed_s else ttl
        about = " ".join(f"{k}={v}" for k, v in {**each.attributes, **each.scope}.items())
        typer.echo(
            f"{each.target:<16} {each.kind:<12} {each.point:<9} {state:<10}"
            f" {each.hits:>5} hits  {about}  {each.fault_id}"
        )
