"""`lab scale` and `lab kill`."""

from typing import Annotated, Any

import typer

from lab.options import AsJson, PortBase, console, print_json, runtime
from lab.runtimes.supervisor.client import UsageError


def register(app: typer.Typer) -> None:
    app.command()(scale)
    app.command()(kill)


def scale(
    target: Annotated[str, typer.Argument(metavar="SERVICE=N", help="E.g. orders=3; 0 to 10.")],
    port_base: PortBase = None,
    as_json: AsJson = False,
) -> None:
    """Run so many instances of a service; waits until they are ready."""
    service, equals, number = target.partition("=")
    if not equals or not number.isdigit():
        raise UsageError(f"{target!r}: expected SERVICE=N, e.g. orders=3")
    answer = runtime(port_base).scale(service, int(number))
    if as_json:
        print_json(answer)
    else:
        console().print(f"{service}: {_listed(answer['processes'])}")
    raise typer.Exit(0 if answer["ready"] else 1)


def kill(
    target: Annotated[
        str, typer.Argument(help="An instance (orders-1), a service (orders) or a server (nats).")
    ],
    signal: Annotated[str, typer.Option(help="KILL, TERM, STOP to pause, CONT to go on.")] = "KILL",
    restart: Annotated[
        bool, typer.Option(help="Start it again after the restart delay, as after any crash.")
    ] = True,
    port_base: PortBase = None,
    as_json: AsJson = False,
) -> None:
    """Kill an instance as a crash would, or pause it. `lab up` brings back what stays down."""
    answer = runtime(port_base).kill(target, signal, restart=restart)
    if as_json:
        print_json(answer)
        return
    hit = ", ".join(f"{each['name']} (pid {each['pid']})" for each in answer["killed"])
    console().print(f"sent {answer['signal']} to {hit}")


def _listed(processes: list[dict[str, Any]]) -> str:
    return ", ".join(f"{each['name']} {each['state']}" for each in processes) or "no instance"
