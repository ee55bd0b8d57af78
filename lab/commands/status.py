"""`lab status` and `lab logs`."""

import json
import time
import urllib.request
from typing import Annotated, Any

import typer

from lab.options import AsJson, PortBase, console, print_json, runtime
from lab.state import Lab

COLOURS = {"ready": "green", "starting": "yellow", "paused": "yellow", "backoff": "red"}
SEVERITY_COLOURS = {"page": "red", "ticket": "yellow"}
ALERTS_S = 0.5
LEVEL_COLOURS = {"warning": "yellow", "error": "red", "critical": "red"}


def register(app: typer.Typer) -> None:
    app.command()(status)
    app.command()(logs)


def status(port_base: PortBase = None, as_json: AsJson = False) -> None:
    """Every process of the lab, each asked now whether it is ready. Exit code 1 if one is not."""
    facts = runtime(port_base).status()
    if as_json:
        print_json(facts)
    else:
        _show(facts)
        _show_alerts(runtime(port_base).lab)
    raise typer.Exit(0 if facts["ready"] else 1)


def logs(
    target: Annotated[
        str, typer.Argument(help="An instance, a service or a server; default everything.")
    ] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    level: Annotated[
        str, typer.Option(help="At least: debug, info, warning, error, critical.")
    ] = "debug",
    last: Annotated[int, typer.Option(min=0, help="So many lines of each log first.")] = 50,
    port_base: PortBase = None,
    as_json: AsJson = False,
) -> None:
    """Log lines of several instances, merged by time."""
    found = runtime(port_base).logs(target, level=level, last=last, follow=follow)
    out = console()
    for line in found:
        if as_json:
            fields = line.fields or {"time": line.time_s, "level": line.level}
            named = {"instance": line.instance, "message": line.message, **fields}
            print(json.dumps(named), flush=follow)
            continue
        clock = time.strftime("%H:%M:%S", time.localtime(line.time_s))
        head = f"{clock}.{int(line.time_s % 1 * 1000):03} {line.instance:15} {line.level:8} "
        out.print(head, style=LEVEL_COLOURS.get(line.level, ""), end="")
        out.print(line.message, markup=False)


def _show(facts: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("name", "state", "pid", "port", "restarts", "uptime", "memory"):
        right = column in ("pid", "port", "restarts", "uptime", "memory")
        table.add_column(column, justify="right" if right else "left")
    for each in facts["processes"]:
        colour = COLOURS.get(each["state"], "red")
        state = f"[{colour}]{each['state']}[/]"
        if each.get("retry_in_s") is not None:
            state += f", again in {each['retry_in_s']} s (ended with {each['last_exit']})"
        table.add_row(
            each["name"],
            state,
            str(each["pid"] or ""),
            str(each["port"] or ""),
            str(each["restarts"] or ""),
            _duration(each.get("uptime_s")),
            f"{each['memory_mb']:.0f} MB" if each["memory_mb"] else "",
        )
    out = console()
    out.print(table)
    ready = "all ready" if facts["ready"] else "[red]not all ready[/]"
    out.print(
        f"{ready}; {facts['memory_mb']:.0f} MB in all; up for {_duration(facts['uptime_s'])}; "
        f"port base {facts['port_base']}"
    )


def _show_alerts(lab: Lab) -> None:
    """What Prometheus has found, where it runs."""
    if "watch" not in lab.addresses:
        return
    try:
        with urllib.request.urlopen(lab.addresses["watch"] + "/alerts", timeout=ALERTS_S) as page:
            firing = json.load(page)["firing"]
    except (OSError, ValueError):
        return  # the table above says that it is not ready
    for alert in firing:
        labels = {**alert["labels"]}
        name, severity = labels["alertname"], labels.get("severity", "")
        summary = alert["annotations"].get("summary", "")
        console().print(f"[{SEVERITY_COLOURS.get(severity, '')}]{name}[/] {summary}")
    if not firing:
        console().print("no alert is firing")


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
