"""`lab kill`."""

from typing import Annotated

import typer

from lab.options import AsJson, PortBase, console, print_json, runtime


def kill(
    target: Annotated[
        str, typer.Argument(help="An instance (orders-1), a service (orders) or a server (nats).")
    ],
    signal: Annotated[
        str, typer.Option(help="KILL, TERM, STOP (pause), CONT (resume) and others.")
    ] = "KILL",
    restart: Annotated[
        bool, typer.Option(help="Start it again after the restart delay, as after any crash.")
    ] = True,
    port_base: PortBase = None,
    as_json: AsJson = False,
) -> None:
    """Kill a process as a crash would, or pause it. `lab up` starts again what stays down."""
    answer = runtime(port_base).kill(target, signal, restart=restart)
    if as_json:
        print_json(answer)
        return
    killed = ", ".join(f"{each['name']} (pid {each['pid']})" for each in answer["killed"])
    console().print(f"sent {answer['signal']} to {killed}")
