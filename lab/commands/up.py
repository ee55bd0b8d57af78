"""`lab up`."""

import os
import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from lab import topology as topologies
from lab.options import AsJson, RuntimeName, checked_runtime, console, print_json, progress_console
from lab.runtimes.base import RESTART_DELAY_S, Runtime, UpOptions, UpResult
from lab.runtimes.choose import runtime_of
from lab.runtimes.supervisor.client import UsageError
from lab.state import PORT_BASE, Lab, checked_port_base


def up(
    port_base: Annotated[
        int | None, typer.Option(help="Its lowest port. Default: LAB_PORT_BASE, else 8080.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="A setting for all services (RESILIENCE=none), one (orders.OUTBOX=off) or one "
            "instance (orders-1.ARM=treatment). Repeatable.",
        ),
    ] = None,
    fresh: Annotated[
        bool, typer.Option(help="Delete the data of the stores and the mail sink first.")
    ] = False,
    proxied: Annotated[
        bool, typer.Option("--proxied", help="Put the fault proxy on every edge.")
    ] = False,
    open_proxy: Annotated[
        bool,
        typer.Option("--open-proxy", help="As --proxied, and the proxy's API requires no token."),
    ] = False,
    with_observers: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            help="prometheus: unpack it from the distribution's package where it is not on PATH.",
        ),
    ] = None,
    topology: Annotated[
        Path, typer.Option(help="The topology file to start.")
    ] = topologies.DEFAULT_PATH,
    restart_delay_s: Annotated[
        float, typer.Option(min=0.0, help="Seconds from a crash to the first restart.")
    ] = RESTART_DELAY_S,
    runtime_name: RuntimeName = "",
    profile: Annotated[
        str,
        typer.Option(help="With compose: full (the default), or small (shop, Prometheus, Jaeger)."),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Start the lab, wait until all is ready, print its URLs.

    If a lab is up, start again what is stopped. Ctrl-C leaves nothing behind.
    """
    lab = runtime_of(_port_base(port_base), checked_runtime(runtime_name), topology, profile)
    options = UpOptions(
        _parsed(settings or []),
        fresh,
        proxied,
        open_proxy,
        _checked_observers(with_observers or []),
        restart_delay_s,
    )
    with ExitStack() as stack:
        progress = _ProgressLine()
        if not as_json:
            status = stack.enter_context(progress_console().status("starting"))
            progress.show = status.update
        result = lab.up(options, on_progress=progress.report)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # too late: the lab is up
    if as_json:
        _print_json(lab, result)
    else:
        _print(lab, result)


def urls(lab: Lab) -> dict[str, str]:
    """The pages and APIs that a person may open, by their names."""
    ingress = lab.addresses["ingress"]
    observers = {"dashboards": "grafana", "traces": "jaeger"}
    observers |= {"metrics": "prometheus", "alerts": "alertmanager"}
    found = {
        "shop": f"{ingress}/api/products",
        "API to try out": f"{ingress}/api/docs",
        "mails": lab.addresses["mail_page"] + "/",
        "broker": lab.addresses["nats_monitoring"],
        "load (when on)": lab.addresses["locust_ui"] + "/",
    }
    found |= {
        what: lab.addresses[name] + "/" for what, name in observers.items() if name in lab.addresses
    }
    if lab.proxied:
        found["fault proxy"] = lab.addresses["proxy"] + "/version"
    return found


def _print_json(lab: Runtime, result: UpResult) -> None:
    facts = {"already": result.already, "took_s": result.took_s, "cleaned": result.cleaned}
    facts |= {"healed": result.healed, "port_base": lab.port_base, "home": str(lab.home)}
    print_json(facts | {"hints": result.hints, "urls": urls(lab.lab)})


def _print(lab: Runtime, result: UpResult) -> None:
    out = console()
    for sentence in result.cleaned:
        out.print(f"[yellow]cleaned up:[/] {sentence}")
    if result.already:
        healed = f"; started again: {', '.join(result.healed)}" if result.healed else ""
        out.print(f"The lab is already up{healed}.")
    else:
        out.print(f"The lab is up after {result.took_s} s.")
    for what, url in urls(lab.lab).items():
        out.print(f"  {what:16} {url}")
    out.print(f"  {'logs':16} {lab.home / 'logs'}, or `lab logs -f`")
    for hint in result.hints:
        out.print(f"[yellow]without {hint}[/]")
    out.print("`lab load --ui` adds the Locust UI, `lab down` stops the lab.")


class _ProgressLine:
    """Progress as one line: how many processes are ready, and which are not."""

    def __init__(self) -> None:
        self._states: dict[str, str] = {}
        self.show: Callable[[str], Any] = lambda line: None

    def report(self, progress: dict[str, Any]) -> None:
        self._states[progress["name"]] = progress["state"]
        waiting = [name for name, state in self._states.items() if state != "ready"]
        ready = len(self._states) - len(waiting)
        self.show(f"{ready} ready; waiting for {', '.join(waiting[:4]) or 'the services'}")


def _port_base(option: int | None) -> int:
    """`up` starts a new lab: unlike other commands, it does not default to the newest lab."""
    return checked_port_base(str(option or os.environ.get("LAB_PORT_BASE") or PORT_BASE))


def _checked_observers(names: list[str]) -> list[str]:
    for name in names:
        if name != "prometheus":
            raise UsageError(f"--with {name}: expected prometheus")
    return names


def _parsed(settings: list[str]) -> dict[str, str]:
    parsed = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not name:
            raise UsageError(f"--set {setting}: expected NAME=value")
        parsed[name] = value
    return parsed
