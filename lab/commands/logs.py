"""`lab logs`."""

import json
import re
import time
from datetime import datetime
from typing import Annotated

import typer

from lab.commands._output import has_reader
from lab.nearest import nearest
from lab.options import AsJson, PortBase, console, runtime
from lab.runtimes.logs import LEVELS, LogFilter
from lab.runtimes.supervisor.client import UsageError

LEVEL_COLOURS = {"warning": "yellow", "error": "red", "critical": "red"}
LAST = 50
AGO = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d)")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


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
    last: Annotated[
        int | None,
        typer.Option(
            min=0,
            help=f"Number of last lines of each log. Default: {LAST}; all with --since or --trace.",
        ),
    ] = None,
    since: Annotated[
        str,
        typer.Option(help="Only lines of the last 90s, 5m, 2h or 1d, or since 2026-01-31T12:00."),
    ] = "",
    trace: Annotated[
        str, typer.Option(help="Only lines of the trace with this id (X-Request-Id), or its start.")
    ] = "",
    grep: Annotated[
        str, typer.Option(help="Only lines whose printed content matches this regular expression.")
    ] = "",
    port_base: PortBase = None,
    as_json: AsJson = False,
) -> None:
    """Print log lines of several instances, merged by time: message and fields. --json: a line as one object."""
    only = _filter(level, since, trace, grep)
    if last is None and not (since or trace):
        last = LAST
    out = console()
    for line in runtime(port_base).logs(target, only=only, last=last, follow=follow):
        if not has_reader():
            return
        if as_json:
            fields = line.fields or {"time": line.time_s, "level": line.level}
            named = {"instance": line.instance, "message": line.message, **fields}
            print(json.dumps(named), flush=follow)
            continue
        clock = time.strftime("%H:%M:%S", time.localtime(line.time_s))
        head = f"{clock}.{int(line.time_s % 1 * 1000):03} {line.instance:15} {line.level:8} "
        out.print(head, style=LEVEL_COLOURS.get(line.level, ""), end="")
        out.print(line.content, markup=False)


def _filter(level: str, since: str, trace: str, grep: str) -> LogFilter:
    """Raises UsageError."""
    if level not in LEVELS:
        raise UsageError(f"level {level!r}{nearest(level, LEVELS)}")
    try:
        pattern = re.compile(grep) if grep else None
    except re.error as error:
        raise UsageError(f"--grep {grep!r}: no regular expression ({error})") from None
    return LogFilter(level, since_s(since, time.time()) if since else 0.0, trace, pattern)


def since_s(text: str, now_s: float) -> float:
    """Epoch seconds of `90s`, `5m`, `2h`, `1d` ago, or of an ISO time, local without a zone. Raises UsageError."""
    if ago := AGO.fullmatch(text):
        return now_s - float(ago[1]) * SECONDS[ago[2]]
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise UsageError(
            f"--since {text!r}: expected 90s, 5m, 2h, 1d or a time like 2026-01-31T12:00"
        ) from None
