"""`lab faults list|add|clear`: the faults inside the services of the running lab, by hand."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from lab.chaos.control import Control, Placed
from lab.chaos.target import find_lab
from lab.commands.run import PortBase
from lab.run.exits import FAILED, clear_exits

Target = Annotated[str | None, typer.Argument(help="a service or an instance; all if left out")]
AsJson = Annotated[bool, typer.Option("--json", help="as JSON")]


def register(app: typer.Typer) -> None:
    faults = typer.Typer(no_args_is_help=True, help="Faults inside the services, by hand.")
    app.add_typer(faults, name="faults")

    @faults.command("list")
    def list_faults(
        target: Target = None,
        history: Annotated[bool, typer.Option(help="also those that have ended")] = False,
        port_base: PortBase = None,
        as_json: AsJson = False,
    ) -> None:
        """What is armed now."""
        with clear_exits(cannot=FAILED):
            control = Control(find_lab(port_base))
            placed = control.history(target) if history else control.faults(target)
        _show(placed, as_json, "no faults are armed")

    @faults.command("add")
    def add_fault(
        target: Annotated[str, typer.Argument(help="a service (all its instances) or an instance")],
        kind: Annotated[str, typer.Argument(help="latency, abort, crash, noop")],
        attribute: Annotated[
            list[str] | None, typer.Argument(help="its attributes, e.g. latency_ms=2000")
        ] = None,
        ttl: Annotated[float, typer.Option(help="seconds; it ends then, whoever dies")] = 60.0,
        point: Annotated[str, typer.Option(help="inbound, outbound or failpoint")] = "inbound",
        scope: Annotated[
            list[str] | None, typer.Option(help="whom it hits, e.g. route=/authorizations")
        ] = None,
        seed: Annotated[int, typer.Option(help="of its draws")] = 0,
        port_base: PortBase = None,
        as_json: AsJson = False,
    ) -> None:
        """Arm a fault."""
        spec = {
            "kind": kind,
            "attributes": _pairs(attribute, "attribute"),
            "point": point,
            "scope": _pairs(scope, "--scope"),
            "ttl_s": ttl,
            "seed": seed,
        }
        with clear_exits(cannot=FAILED):
            placed = Control(find_lab(port_base)).add_fault(target, spec)
        _show(placed, as_json, "nothing to arm it on")

    @faults.command("clear")
    def clear_faults(
        target: Target = None, port_base: PortBase = None, as_json: AsJson = False
    ) -> None:
        """Disarm all faults, or those of one target."""
        with clear_exits(cannot=FAILED):
            removed = Control(find_lab(port_base)).clear(target)
        typer.echo(json.dumps({"removed": removed}) if as_json else f"{removed} removed")


def _pairs(texts: list[str] | None, what: str) -> dict[str, Any]:
    """`name=value` words; a value that reads as JSON is that, else it is text."""
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


def _show(placed: list[Placed], as_json: bool, nothing: str) -> None:
    if as_json:
        items = [{"target": each.instance.name, **each.view} for each in placed]
        typer.echo(json.dumps({"items": items}))
    elif not placed:
        typer.echo(nothing)
    for each in () if as_json else placed:
        view = each.view
        state = "ended" if view["removed_s"] else f"ttl {view['ttl_s']:g} s"
        about = " ".join(f"{k}={v}" for k, v in {**view["attributes"], **view["scope"]}.items())
        typer.echo(
            f"{each.instance.name:<16} {view['kind']:<8} {view['point']:<9} {state:<10}"
            f" {view['hits']:>5} hits  {about}  {view['id']}"
        )
