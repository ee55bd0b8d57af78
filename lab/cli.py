"""The command line `lab`: finds the module a command lives in and runs it; knows nothing else of it.

A module of lab/commands/ has `register(app: typer.Typer)`, which adds its commands. An error with an `exit_code`
ends the command with its message alone. Exit codes: 0 held or done, 1 deviated or failed, 2 wrong usage, 3 run
invalid.
"""

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

from lab import __version__
from lab.nearest import nearest

if TYPE_CHECKING:
    import typer

INTERRUPTED = 130  # what typer makes of a Ctrl-C
COMMANDS_FOLDER = Path(__file__).with_name("commands")


class Command(NamedTuple):
    """One line of the overview; `module` is of lab.commands."""

    name: str
    module: str
    help: str


# Said here too, so that the overview need not import what the commands import.
COMMANDS = (
    Command(
        "doctor", "doctor", "Is this machine fit for a lab? Servers, ports, memory, processes."
    ),
    Command("up", "up", "Start the lab and print what can be opened; heals one that runs."),
    Command("down", "up", "End the lab; what was stored stays."),
    Command("status", "status", "Every instance: state, pid, port, restarts, uptime, memory."),
    Command("logs", "status", "Log lines of everything, a service or an instance."),
    Command("scale", "control", "Run more or fewer instances: lab scale orders=3."),
    Command("kill", "control", "Kill, stop or pause an instance: lab kill orders-1."),
    Command("load", "load", "Send shoppers: headless with a log, or the Locust UI."),
    Command("faults", "faults", "Faults in force in the running lab; put in, take out."),
    Command("resilience", "resilience", "The policies of every edge: live states, switches."),
    Command("run", "run", "Run an experiment: load, break, record, judge."),
    Command("runs", "runs", "The runs recorded so far."),
    Command("check", "check", "Judge a run again from its archive."),
    Command("report", "report", "Write a run's report.html again."),
    Command("notebook", "notebook", "Execute a notebook on a run."),
    Command("render", "render", "Write what is generated from the topology; --check compares."),
    Command("bench", "bench", "Measure the lab itself."),
    Command("demo", "demo", "From nothing to a report: up, one experiment, ten lines of summary."),
)


def main() -> None:
    """The console script `lab`."""
    sys.exit(run(sys.argv[1:]))


def run(argv: list[str]) -> int:
    """Run one command line; its exit code."""
    if not argv or argv[0] in ("--help", "-h", "help"):
        print(overview())
        return 0
    if argv[0] in ("--version", "-V"):
        print(f"breakwater {__version__}")
        return 0
    name = argv[0]
    app = None if name.startswith("-") else application(name)
    if app is None:
        kind = "option" if name.startswith("-") else "command"
        print(f"lab: no {kind} {name!r}{nearest(name, available())}", file=sys.stderr)
        return 2
    try:
        app(argv, prog_name="lab", standalone_mode=True)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if code == INTERRUPTED:
            print(f"lab {name}: interrupted", file=sys.stderr)
        return code
    except BrokenPipeError:  # `lab logs | head`
        sys.stderr.close()
        return 0
    except Exception as error:
        own = getattr(error, "exit_code", None)
        if not isinstance(own, int):
            raise
        print(f"lab {name}: {error}", file=sys.stderr)
        return own
    return 0


def overview() -> str:
    """What `lab --help` says: the commands that are there."""
    there = available()
    lines = [f"  {each.name:10} {each.help}" for each in COMMANDS if each.name in there]
    lines += [f"  {name}" for name in there if name not in {each.name for each in COMMANDS}]
    return "\n".join(
        [
            "Usage: lab COMMAND [OPTIONS]",
            "",
            "A chaos lab for microservices: start the shop, break it, see what happened.",
            "",
            *lines,
            "",
            "`lab COMMAND --help` says more of each; each has --json. Several labs: --port-base.",
        ]
    )


def available() -> list[str]:
    """The commands whose modules are there, in the overview's order."""
    modules = _modules()
    listed = [each.name for each in COMMANDS if {each.module, each.name} & set(modules)]
    known = {name for each in COMMANDS for name in (each.module, each.name)}
    return listed + [module for module in modules if module not in known]


def application(name: str) -> "typer.Typer | None":
    """The typer application that has the command `name`; imports no other module if it can."""
    modules = _modules()
    first = [each.module for each in COMMANDS if each.name == name]
    for module in dict.fromkeys([*first, name]):
        if module not in modules:
            continue
        app = _registered(import_module(f"lab.commands.{module}"))
        names = {each.name or _name(each.callback) for each in app.registered_commands}
        names |= {str(group.name) for group in app.registered_groups}
        if name in names:
            return app
    return None


def _registered(module: ModuleType) -> "typer.Typer":
    import typer

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

    @app.callback()
    def _group() -> None:
        """With it, a module's only command keeps its name."""

    module.register(app)
    return app


def _name(callback: object) -> str:
    return str(getattr(callback, "__name__", "")).replace("_", "-")


def _modules() -> list[str]:
    return sorted(
        path.stem for path in COMMANDS_FOLDER.glob("*.py") if not path.stem.startswith("_")
    )


if __name__ == "__main__":
    main()
