"""`lab resilience` and `lab resilience set`: the policies of every edge, as each instance holds them now."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from lab.chaos.resilience import (
    PROFILES,
    PolicyChange,
    PolicyClient,
    PolicyState,
    UnknownPolicyError,
)
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


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="The resilience policies of every edge: live states, switches.")
    app.add_typer(group, name="resilience")

    @group.callback(invoke_without_command=True)
    def show(
        context: typer.Context,
        edge: Annotated[str, typer.Option(help="only this edge, e.g. 'payments->bank'")] = "",
        port_base: PortBase = None,
        as_json: AsJson = False,
    ) -> None:
        """Every edge of every instance. Exit 1 if an instance could not be asked."""
        if context.invoked_subcommand:
            return
        with _exits():
            policies = PolicyClient(find_lab(port_base))
            held, silent = policies.read(edge or None)
            kept = policies.kept()
            if edge and not held and not silent:
                raise UnknownPolicyError(f"no edge {edge!r}; `lab resilience` lists them")
        if as_json:
            items = [
                {
                    "instance": h.instance.name,
                    **h.view,
                    "edge": h.edge,
                    "set": override_of(kept, h.edge),
                }
                for h in held
            ]
            typer.echo(json.dumps({"items": items, "failed": silent}))
        else:
            _show(held, kept)
        _end(silent, quiet=as_json)

    @group.command("set")
    def change(
        words: Annotated[
            list[str],
            typer.Argument(
                metavar="[EDGE] NAME=VALUE...",
                help=f"profile=STEP ({', '.join(PROFILES)}) or POLICY=on|off; all edges if none is named",
            ),
        ],
        port_base: PortBase = None,
        as_json: AsJson = False,
    ) -> None:
        """E.g. set "payments->bank" breaker=off, or set profile=retries.

        On every instance that has the edge, those that start later too, until the lab ends.
        """
        with _exits():
            edge, wish = parse(words)
            outcome = PolicyClient(find_lab(port_base)).set(wish, edge)
        if as_json:
            pairs = [{"instance": name, "edge": edge} for name, edge in outcome.changed]
            typer.echo(json.dumps({"changed": pairs, "failed": outcome.failed}))
        else:
            names = sorted({name for name, _ in outcome.changed})
            typer.echo(f"{len(outcome.changed)} edges of {len(names)} instances changed")
        _end(outcome.failed, quiet=as_json)


def parse(words: list[str]) -> tuple[str | None, PolicyChange]:
    """(edge or None, wish) of the words of `set`. Raises UnknownPolicyError."""
    edge: str | None = None
    profile: str | None = None
    switches: dict[str, bool] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            if edge is not None:
                raise UnknownPolicyError(
                    f"two edges, {edge!r} and {word!r}: expected one, or none for all"
                )
            edge = word
        elif name == "profile":
            profile = value
        elif value in ON_OFF:
            switches[name] = ON_OFF[value]
        else:
            raise UnknownPolicyError(f"{word!r}: expected {name}=on or {name}=off")
    if profile is None and not switches:
        raise UnknownPolicyError("nothing to set: expected profile=STEP or POLICY=on|off")
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
    for why in () if quiet else failed.values():
        typer.echo(why, err=True)
    if failed:
        raise typer.Exit(FAILED)


def _show(held: list[PolicyState], kept: Rows) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in COLUMNS:
        table.add_column(column, no_wrap=True)
    for each in sorted(held, key=lambda each: (each.edge, each.instance.name)):
        table.add_row(*cells(each), _words(override_of(kept, each.edge)))
    out = console()
    out.width = max(out.width, WIDTH)  # a pipe has no width: a line stays a line
    out.print(table)


def cells(held: PolicyState) -> list[str]:
    """One line of the table, but for what was set; "-" where the edge has no such policy."""
    off = set(held.view["off"])
    breaker, retry = held.policy("breaker"), held.policy("retry")
    bulkhead, shed = held.policy("bulkhead"), held.policy("shed")
    state = breaker["state"] if breaker and "breaker" not in off else "-"
    tokens = (retry or {}).get("budget_tokens")
    room = "-"
    if bulkhead and "bulkhead" not in off:
        room = f"{bulkhead['in_flight']} of {bulkhead['permits']}"
    elif shed and "shed" not in off:
        room = f"{shed['in_flight']} of {shed['capacity']} (door)"
    return [
        held.edge,
        held.instance.name,
        str(held.view["profile"]),
        f"[{COLOURS.get(state, 'default')}]{state}[/]",
        _share(breaker, "failures", off),
        _share(breaker, "slow", off),
        "-" if tokens is None or "budget" in off else f"{tokens:.1f}",
        room,
        ", ".join(held.ejected) or "-",
        ", ".join(held.switched_off) or "-",
    ]


def _words(row: Mapping[str, Any]) -> str:
    """What was set for the edge, as `set` would be told it."""
    profile = [f"profile={row['profile']}"] if "profile" in row else []
    switches = row.get("switches", {}).items()
    return (
        " ".join([*profile, *(f"{kind}={'on' if on else 'off'}" for kind, on in switches)]) or "-"
    )


def _share(breaker: Any, what: str, off: set[str]) -> str:
    """`3 of 20`, of the breaker's window."""
    return "-" if not breaker or "breaker" in off else f"{breaker[what]} of {breaker['n']}"
