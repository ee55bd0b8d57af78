"""`lab resilience` and `lab resilience set`: shows and changes the live policies of every edge."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from chassis.resilience.profile import PROFILES
from lab.chaos.resilience import PolicyChange, PolicyClient, PolicyState, UnknownPolicyError
from lab.chaos.running_lab import find_lab
from lab.options import AsJson, PortBase, console
from lab.resilience_overrides import Rows, override_of
from lab.run.exit_codes import FAILED, USAGE, clear_exits

COLOURS = {"open": "red", "forced_open": "red", "half_open": "yellow", "closed": "green"}
COLUMNS = (
    *("edge", "instance", "profile", "breaker", "failed", "slow"),
    *("retry budget", "bulkhead", "ejected", "switched off", "set"),
)
WIDTH = 140
ON_OFF = {"on": True, "off": False}
resilience = typer.Typer(help="Show and change the resilience policies of every edge.")


@resilience.callback(invoke_without_command=True)
def show(
    context: typer.Context,
    edge: Annotated[
        str, typer.Option(help="Show only this edge, e.g. 'payments->bank'. Default: all edges.")
    ] = "",
    port_base: PortBase = None,
    as_json: AsJson = False,
) -> None:
    """Show the policies of every edge at every instance. Exit 1 if an instance did not answer."""
    if context.invoked_subcommand:
        return
    with _exits():
        policies = PolicyClient(find_lab(port_base))
        states, failed = policies.read(edge or None)
        overrides = policies.overrides()
        if edge and not states and not failed:
            raise UnknownPolicyError(f"no edge {edge!r}; `lab resilience` lists them")
    if as_json:
        items = [
            {"instance": state.instance.name, **state.view, "edge": state.edge}
            | {"set": override_of(overrides, state.edge)}
            for state in states
        ]
        typer.echo(json.dumps({"items": items, "failed": failed}))
    else:
        _show(states, overrides)
    _end(failed, quiet=as_json)


@resilience.command("set")
def change(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[EDGE] NAME=VALUE...",
            help=f"profile=PROFILE ({', '.join(PROFILES)}) or POLICY=on|off. Default edge: all.",
        ),
    ],
    port_base: PortBase = None,
    as_json: AsJson = False,
) -> None:
    """Change policies: set "payments->bank" breaker=off, or set profile=retries.

    The change applies to every instance that has the edge, also to later ones, until the lab ends.
    """
    with _exits():
        edge, wanted = parse(words)
        result = PolicyClient(find_lab(port_base)).set(wanted, edge)
    if as_json:
        pairs = [{"instance": name, "edge": edge} for name, edge in result.changed]
        typer.echo(json.dumps({"changed": pairs, "failed": result.failed}))
    else:
        names = sorted({name for name, _ in result.changed})
        typer.echo(f"{len(result.changed)} edges of {len(names)} instances changed")
    _end(result.failed, quiet=as_json)


def parse(words: list[str]) -> tuple[str | None, PolicyChange]:
    """(edge or None, change) from the arguments of `set`. Raises UnknownPolicyError."""
    edge: str | None = None
    profile: str | None = None
    switches: dict[str, bool] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            if edge is not None:
                raise UnknownPolicyError(
                    f"two edges, {edge!r} and {word!r}: expected one edge, or none for all edges"
                )
            edge = word
        elif name == "profile":
            profile = value
        elif value in ON_OFF:
            switches[name] = ON_OFF[value]
        else:
            raise UnknownPolicyError(f"{word!r}: expected {name}=on or {name}=off")
    if profile is None and not switches:
        raise UnknownPolicyError("nothing to set: expected profile=PROFILE or POLICY=on|off")
    return edge, PolicyChange(profile, switches)


@contextmanager
def _exits() -> Iterator[None]:
    with clear_exits(cannot=FAILED):
        try:
            yield
        except UnknownPolicyError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(USAGE) from None


def _end(failed: dict[str, str], *, quiet: bool) -> None:
    for reason in () if quiet else failed.values():
        typer.echo(reason, err=True)
    if failed:
        raise typer.Exit(FAILED)


def _show(states: list[PolicyState], overrides: Rows) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in COLUMNS:
        table.add_column(column, no_wrap=True)
    for state in sorted(states, key=lambda state: (state.edge, state.instance.name)):
        table.add_row(*cells(state), _words(override_of(overrides, state.edge)))
    out = console()
    out.width = max(out.width, WIDTH)  # without wrapping, also in a pipe
    out.print(table)


def cells(state: PolicyState) -> list[str]:
    """One row of the table except for the column "set"; "-" where the edge has no such policy."""
    off = set(state.view["off"])
    breaker, retry = state.policy("breaker"), state.policy("retry")
    bulkhead, shed = state.policy("bulkhead"), state.policy("shed")
    breaker_state = breaker["state"] if breaker and "breaker" not in off else "-"
    tokens = (retry or {}).get("budget_tokens")
    load = "-"
    if bulkhead and "bulkhead" not in off:
        load = f"{bulkhead['in_flight']} of {bulkhead['permits']}"
    elif shed and "shed" not in off:
        load = f"{shed['in_flight']} of {shed['capacity']} (admission)"
    return [
        state.edge,
        state.instance.name,
        str(state.view["profile"]),
        f"[{COLOURS.get(breaker_state, 'default')}]{breaker_state}[/]",
        _share(breaker, "failures", off),
        _share(breaker, "slow", off),
        "-" if tokens is None or "budget" in off else f"{tokens:.1f}",
        load,
        ", ".join(state.ejected) or "-",
        ", ".join(state.switched_off) or "-",
    ]


def _words(row: Mapping[str, Any]) -> str:
    """The overrides of an edge, as arguments of `set`."""
    profile = [f"profile={row['profile']}"] if "profile" in row else []
    switches = row.get("switches", {}).items()
    return (
        " ".join([*profile, *(f"{kind}={'on' if on else 'off'}" for kind, on in switches)]) or "-"
    )


def _share(breaker: Any, what: str, off: set[str]) -> str:
    """`3 of 20` calls in the breaker's window."""
    return "-" if not breaker or "breaker" in off else f"{breaker[what]} of {breaker['n']}"
