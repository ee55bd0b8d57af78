"""`lab up` and `lab down`."""

import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from lab import topology as topologies
from lab.options import (
    AsJson,
    PortBase,
    RuntimeName,
    checked_runtime,
    console,
    print_json,
    progress_console,
    runtime,
)
from lab.runtimes.choose import runtime_of
from lab.runtimes.processes.runtime import ProcessesRuntime
from lab.runtimes.servers import apt_packages, observers
from lab.runtimes.servers.binaries import ServerMissingError
from lab.runtimes.supervisor.client import UsageError
from lab.runtimes.supervisor.managed_process import RESTART_DELAY_S
from lab.state import PORT_BASE, Lab, checked_port_base


def register(app: typer.Typer) -> None:
    app.command()(up)
    app.command()(down)


def up(
    port_base: Annotated[
        int | None, typer.Option(help="Its lowest port. Default LAB_PORT_BASE, else 8080.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="A setting for all services (RESILIENCE=none), one (orders.OUTBOX=off) or one "
            "instance (orders-1.ARM=treatment); again for more.",
        ),
    ] = None,
    fresh: Annotated[bool, typer.Option(help="Forget what the stores and the mail hold.")] = False,
    proxied: Annotated[
        bool, typer.Option("--proxied", help="Put the fault proxy on every edge.")
    ] = False,
    open_proxy: Annotated[
        bool,
        typer.Option(
            "--open-proxy", help="Proxied, and Toxiproxy clients need no token for its API."
        ),
    ] = False,
    observed_by: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            help="prometheus: also where it is not on PATH, unpacked from the distribution's package.",
        ),
    ] = None,
    topology: Annotated[
        Path, typer.Option(help="The architecture to start.")
    ] = topologies.DEFAULT_PATH,
    restart_delay_s: Annotated[
        float, typer.Option(min=0.0, help="From a crash to the first restart.")
    ] = RESTART_DELAY_S,
    runtime_name: RuntimeName = "",
    profile: Annotated[
        str, typer.Option(help="With compose: full, or small (shop, Prometheus, Jaeger).")
    ] = "full",
    as_json: AsJson = False,
) -> None:
    """Start the lab, wait until all is ready, print what can be opened.

    Where one runs already, start again what is stopped. Ctrl-C leaves nothing behind.
    """
    lab = runtime_of(_port_base(port_base), checked_runtime(runtime_name), topology, profile)
    by_processes = isinstance(lab, ProcessesRuntime)
    found, hints = _unpacked(observed_by or []) if by_processes else ([], [])
    with ExitStack() as stack:
        waiting = _Waiting()
        if not as_json:
            status = stack.enter_context(progress_console().status("starting"))
            waiting.show = status.update
        told: dict[str, Any] = {"fresh": fresh, "proxied": proxied, "open_proxy": open_proxy}
        if by_processes:
            told |= {"observed_by": found, "restart_delay_s": restart_delay_s}
        done = lab.up(_parsed(settings or []), on_progress=waiting.hear, **told)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # too late: it is up, and that is what we say
    here = urls(lab.lab)
    if as_json:
        facts = {"already": done.already, "took_s": done.took_s, "cleaned": done.cleaned}
        facts |= {"healed": done.healed, "port_base": lab.port_base, "home": str(lab.home)}
        facts |= {"hints": hints}
        print_json(facts | {"urls": here})
        return
    out = console()
    for sentence in done.cleaned:
        out.print(f"[yellow]cleaned up:[/] {sentence}")
    if done.already:
        healed = f"; started again: {', '.join(done.healed)}" if done.healed else ""
        out.print(f"The lab is already up{healed}.")
    else:
        out.print(f"The lab is up after {done.took_s} s.")
    for what, url in here.items():
        out.print(f"  {what:16} {url}")
    out.print(f"  {'logs':16} {lab.home / 'logs'}, or `lab logs -f`")
    for hint in hints:
        out.print(f"[yellow]without {hint}[/]")
    out.print("`lab load --ui` adds the Locust UI, `lab down` ends the lab.")


def down(port_base: PortBase = None, as_json: AsJson = False) -> None:
    """End the lab: services first, stores last. What was stored stays for the next `lab up`."""
    lab = runtime(port_base)
    was_up = lab.down()
    if as_json:
        print_json({"was_up": was_up, "port_base": lab.port_base})
    elif was_up:
        console().print("The lab is down.")
    else:
        console().print(f"No lab was up at port base {lab.port_base}.")


def urls(lab: Lab) -> dict[str, str]:
    """What a person may open."""
    ingress = lab.addresses["ingress"]
    watched = {"dashboards": "grafana", "traces": "jaeger"}
    watched |= {"metrics": "prometheus", "alerts": "alertmanager"}
    watched = {
        what: lab.addresses[name] + "/" for what, name in watched.items() if name in lab.addresses
    }
    found = {
        "shop": f"{ingress}/api/products",
        "API to try out": f"{ingress}/api/docs",
        "mails": lab.addresses["mail_page"] + "/",
        "broker": lab.addresses["nats_monitoring"] + "/",
        "load (when on)": lab.addresses["locust_ui"] + "/",
        **watched,
    }
    if lab.proxied:
        found["fault proxy"] = lab.addresses["proxy"] + "/version"
    return found


def _unpacked(wanted: list[str]) -> tuple[list[str], list[str]]:
    """The observers to use, unpacked now if they are not on PATH; and a hint for each that cannot be had."""
    names, hints = [], []
    for name in wanted:
        if name != "prometheus":
            raise UsageError(f"--with {name}: expected prometheus")
        try:
            if observers.find(name) is None:
                apt_packages.unpack(name)
            names.append(name)
        except ServerMissingError as missing:
            hints.append(str(missing))
    return names, hints


class _Waiting:
    """Turns progress into one line: how many are ready, and who is not yet."""

    def __init__(self) -> None:
        self._states: dict[str, str] = {}
        self.show: Any = lambda line: None

    def hear(self, progress: dict[str, Any]) -> None:
        self._states[progress["name"]] = progress["state"]
        waiting = [name for name, state in self._states.items() if state != "ready"]
        ready = len(self._states) - len(waiting)
        self.show(f"{ready} ready; waiting for {', '.join(waiting[:4]) or 'the services'}")


def _port_base(option: int | None) -> int:
    """`up` makes a lab: unlike elsewhere, the newest one is not meant."""
    import os

    return checked_port_base(str(option or os.environ.get("LAB_PORT_BASE") or PORT_BASE))


def _parsed(settings: list[str]) -> dict[str, str]:
    parsed = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not name:
            raise UsageError(f"--set {setting}: expected NAME=value")
        parsed[name] = value
    return parsed
