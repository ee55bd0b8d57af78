"""`lab logs`."""

import json
import time
from typing import Annotated

import typer

from lab.options import AsJson, PortBase, console, runtime

LEVEL_COLOURS = {"warning": "yellow", "error": "red", "critical": "red"}


def logs(
    target: Annotated[
        str, typer.Argument(help="An instance, a service or a server. Default: all.")
    ] = "",
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print new lines until Ctrl-C.")
    ] = False,
    level: Annotated[
        str, typer.Option(help="The lowest level: debug, info, warning, error, critical.")
    ] = "debug",
    last: Annotated[int, typer.Option(min=0, help="Number of last lines of each log.")] = 50,
    port_base: PortBase = None,
    as_json: AsJson = False,
) -> None:
    """Print log lines of several instances, merged by time."""
    out = console()
    for line in runtime(port_base).logs(target, level=level, last=last, follow=follow):
        if as_json:
            fields = line.fields or {"time": line.time_s, "level": line.level}
            named = {"instance": line.instance, "message": line.message, **fields}
            print(json.dumps(named), flush=follow)
            continue
        clock = time.strftime("%H:%M:%S", time.localtime(line.time_s))
        head = f"{clock}.{int(line.time_s % 1 * 1000):03} {line.instance:15} {line.level:8} "
        out.print(head, style=LEVEL_COLOURS.get(line.level, ""), end="")
        out.print(line.message, markup=False)
