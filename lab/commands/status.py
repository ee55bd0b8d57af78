"""`lab status`."""

from typing import Any

import typer

from lab.http_client import NoReplyError, exchange
from lab.options import AsJson, PortBase, console, print_json, runtime
from lab.state import Lab

COLOURS = {"ready": "green", "starting": "yellow", "paused": "yellow", "backoff": "red"}
SEVERITY_COLOURS = {"page": "red", "ticket": "yellow"}
ALERTS_S = 0.5


def status(port_base: PortBase = None, as_json: AsJson = False) -> None:
    """Check every process of the lab now. Exit code 1 if one is not ready."""
    facts = runtime(port_base).status()
    if as_json:
        print_json(facts)
    else:
        _show(facts)
        _show_alerts(runtime(port_base).lab)
    raise typer.Exit(0 if facts["ready"] else 1)


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
        f"{ready}; {facts['memory_mb']:.0f} MB in total; up for {_duration(facts['uptime_s'])}; "
        f"port base {facts['port_base']}"
    )


def _show_alerts(lab: Lab) -> None:
    """The alerts that Prometheus reports, where it runs."""
    if "watch" not in lab.addresses:
        return
    try:
        reply = exchange("GET", lab.addresses["watch"] + "/alerts", timeout_s=ALERTS_S)
        firing = reply.body["firing"]
    except (NoReplyError, TypeError, KeyError):
        return  # the table above shows that the watch is not ready
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
