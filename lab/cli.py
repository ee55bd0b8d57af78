"""The command line `lab`: imports the module of a command and runs it.

Each command has a module of its name in lab/commands/, and in it a function of that name, or a typer application
if it has subcommands. An error with an `exit_code` ends the command with the error's message alone. Exit codes:
0 held or done, 1 deviated or failed, 2 wrong usage, 3 run invalid, 4 run undecided.
"""

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lab import __version__
from lab.commands import _output
from lab.nearest import nearest
from lab.run.children import environment

if TYPE_CHECKING:
    import typer

INTERRUPTED = 130  # typer's exit code after a Ctrl-C
COMMANDS_FOLDER = Path(__file__).with_name("commands")


class Command(NamedTuple):
    """One line of the overview."""

    name: str
    help: str


# Repeated here, so that the overview imports no command.
COMMANDS = (
    Command("doctor", "Check that this machine can run a lab: servers, ports, memory, processes."),
    Command("up", "Start the lab and print its URLs; start again what is stopped."),
    Command("down", "Stop the lab; the stores' data stays."),
    Command("status", "Every instance: state, pid, port, restarts, uptime, memory."),
    Command("logs", "Log lines of the lab, a service or an instance."),
    Command("scale", "Run more or fewer instances: lab scale orders=3."),
    Command("kill", "Kill, stop or pause an instance: lab kill orders-1."),
    Command("load", "Send load: headless with a request log, or with the Locust UI."),
    Command("faults", "List, add and clear faults in the running lab."),
    Command("resilience", "The policies of every edge: live states, switches."),
    Command("run", "Run an experiment: load, break, record, judge."),
    Command("runs", "List the recorded runs."),
    Command("check", "Judge a run again from its archive."),
    Command("report", "Write a run's report.html again."),
    Command("notebook", "Execute a notebook on a run."),
    Command("render", "Write the files generated from the topology; --check compares them."),
    Command("bench", "Measure the lab itself."),
    Command("demo", "From nothing to a report: up, one experiment, ten lines of summary."),
)


def main() -> None:
    """The console script `lab`."""
    environment.clean(os.environ)
    _output.outlive_readers()
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
    except Exception as error:
        own = getattr(error, "exit_code", None)
        if not isinstance(own, int):
            raise
        print(f"lab {name}: {error}", file=sys.stderr)
        return own
    return 0


def overview() -> str:
    """The text of `lab --help`."""
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
            "`lab COMMAND --help` describes each; each has --json. Several labs: --port-base.",
        ]
    )


def available() -> list[str]:
    """The commands that have a module, in the overview's order."""
    modules = _modules()
    listed = [each.name for each in COMMANDS if each.name in modules]
    return listed + [name for name in modules if name not in listed]


def application(name: str) -> "typer.Typer | None":
    """The typer application of the command `name`, None if there is no such command."""
    if name not in _modules():
        return None
    import typer

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

    @app.callback()
    def _group() -> None:
        """Without this callback, typer drops the name of an only command."""

    command = getattr(import_module(f"lab.commands.{name}"), name)
    if isinstance(command, typer.Typer):
        app.add_typer(command, name=name)
    else:
        app.command(name)(command)
    return app


def _modules() -> list[str]:
    return sorted(
        path.stem for path in COMMANDS_FOLDER.glob("*.py") if not path.stem.startswith("_")
    )


if __name__ == "__main__":
    main()
