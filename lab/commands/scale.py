"""`lab scale`."""

from typing import Annotated

import typer

from lab.options import AsJson, PortBase, console, print_json, runtime
from lab.runtimes.supervisor.client import UsageError


def scale(
    target: Annotated[str, typer.Argument(metavar="SERVICE=N", help="E.g. orders=3; 0 to 10.")],
    port_base: PortBase = None,
    as_json: AsJson = False,
) -> None:
    """Run N instances of a service and wait until they are ready."""
    service, equals, number = target.partition("=")
    if not equals or not number.isdigit():
        raise UsageError(f"{target!r}: expected SERVICE=N, e.g. orders=3")
    answer = runtime(port_base).scale(service, int(number))
    if as_json:
        print_json(answer)
    else:
        states = ", ".join(f"{each['name']} {each['state']}" for each in answer["processes"])
        console().print(f"{service}: {states or 'no instance'}")
    raise typer.Exit(0 if answer["ready"] else 1)
