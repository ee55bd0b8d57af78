"""The command line: its commands, its usage errors and its exit codes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from lab import cli
from lab.topology import PROJECT

ROOT = PROJECT


def lab(*argv: str, env: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "lab.cli", *argv],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, **(env or {})},
    )


@pytest.fixture
def nowhere(tmp_path: Path) -> dict[str, str]:
    """No lab is up in this folder."""
    return {"LAB_DIR": str(tmp_path), "LAB_PORT_BASE": "29000"}


def test_the_overview_lists_each_command_once() -> None:
    text = cli.overview()
    assert {"doctor", "up", "down", "status", "logs", "scale", "kill"} <= set(cli.available())
    for name in cli.available():
        assert text.count(f"\n  {name:10} ") == 1


def test_the_overview_imports_nothing_slow() -> None:
    code = "import sys, lab.cli; lab.cli.run(['--help'])\n"
    code += "print(sorted({'typer', 'rich', 'psutil', 'asyncio', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done


@pytest.mark.parametrize("name", [each.name for each in cli.COMMANDS])
def test_each_listed_command_is_found_in_its_module(name: str) -> None:
    if name not in cli.available():
        pytest.skip(f"lab {name} is not here yet")
    app = cli.application(name)
    assert app is not None, f"no module of lab/commands has {name}: correct COMMANDS"


@pytest.mark.parametrize(
    "module", sorted(path.stem for path in cli.COMMANDS_FOLDER.glob("[a-z]*.py"))
)
def test_each_module_registers_only_what_the_overview_lists(module: str) -> None:
    app = cli.application(module)
    assert app is not None
    names = {
        str(each.name or getattr(each.callback, "__name__", "")) for each in app.registered_commands
    }
    names |= {str(each.name) for each in app.registered_groups}
    assert names <= {each.name for each in cli.COMMANDS}


@pytest.mark.parametrize("name", [each.name for each in cli.COMMANDS])
def test_each_command_and_subcommand_has_json(name: str) -> None:
    app = cli.application(name)
    assert app is not None
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    command = group.commands[name]
    below = command.commands.values() if isinstance(command, TyperGroup) else ()
    for each in (command, *below):
        if not isinstance(each, TyperGroup) or each.invoke_without_command:
            options = {option for parameter in each.params for option in parameter.opts}
            assert "--json" in options, each.name


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["stauts"], "no command 'stauts'; did you mean 'status'?"),
        (["--stauts"], "no option '--stauts'"),
        (["up", "--port-base", "80"], "port base '80': expected a number from 1024 to 64000"),
        (["up", "--set", "RESILIENCE"], "--set RESILIENCE: expected NAME=value"),
        (["up", "--set", "odrers.ARM=x"], "no service 'odrers'; did you mean 'orders'?"),
        (["up", "--set", "RESILENCE=none"], "no service reads RESILENCE. Did you mean RESILIENCE?"),
        (["up", "--set", "RESILIENCE=nothing"], "expected one of none, timeouts"),
        (["up", "--set", "orders.OUTBOX=maybe"], "expected on or off"),
        (["up", "--set", "SAGA_DEADLINE_S=soon"], "expected a number"),
        (["up", "--set", "SAGA_DEADLINE_S=inf"], "expected a finite number"),
        (["load", "light", "--duration", "inf"], "86400"),
        (["load", "light", "--duration", "nan"], "86400"),
        (["up", "--profile", "small"], "--profile small: profiles are for --runtime compose"),
        (["up", "--topology", "none.toml"], "none.toml: cannot be read"),
        (["scale", "orders"], "'orders': expected SERVICE=N"),
        (["scale", "orders=many"], "'orders=many': expected SERVICE=N"),
        (["status", "--jsno"], "No such option: --jsno"),
        (["logs", "--level", "loud"], "level 'loud'"),
    ],
)
def test_wrong_usage_is_explained_and_ends_with_2(
    argv: list[str], message: str, nowhere: dict[str, str]
) -> None:
    done = lab(*argv, env=nowhere)
    assert message in done.stderr
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "argv", [["status"], ["kill", "orders-1"], ["scale", "orders=2"], ["logs"]]
)
def test_without_a_lab_the_error_shows_how_to_start_one(
    argv: list[str], nowhere: dict[str, str]
) -> None:
    done = lab(*argv, env=nowhere)
    assert done.returncode == 1
    assert "lab up" in done.stderr


def test_down_without_a_lab_is_no_error(nowhere: dict[str, str]) -> None:
    done = lab("down", "--json", env=nowhere)
    assert (done.returncode, json.loads(done.stdout)["was_up"]) == (0, False)


def test_doctor_finds_the_servers_and_proves_that_nothing_is_orphaned(
    nowhere: dict[str, str],
) -> None:
    done = lab("doctor", "--json", env=nowhere)
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    for server in ("postgres", "valkey", "nats", "nginx"):
        assert checks[server]["ok"], checks[server]
        assert "from " in checks[server]["detail"]
    assert checks["no orphans"]["ok"], checks["no orphans"]


def test_doctor_ends_with_1_on_an_unfit_machine(nowhere: dict[str, str]) -> None:
    done = lab("doctor", "--json", env={**nowhere, "LAB_NATS": "/no/such/nats-server"})
    facts = json.loads(done.stdout)
    (nats,) = (check for check in facts["checks"] if check["name"] == "nats")
    assert (done.returncode, facts["fit"], nats["ok"]) == (1, False, False)
    assert "LAB_NATS=/no/such/nats-server is not a program" in nats["detail"]


@pytest.mark.parametrize(
    ("argv", "code"), [(["--help"], 0), (["down", "--json"], 0), (["doctor", "--json"], 1)]
)
def test_a_command_without_a_reader_ends_as_usual(
    argv: list[str], code: int, nowhere: dict[str, str]
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "lab.cli", *argv],
        cwd=ROOT,
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **nowhere, "LAB_NATS": "/no/such/nats-server"},
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (code, "")


@pytest.mark.parametrize("options", [[], ["--json"], ["--follow"]])
def test_logs_end_with_their_reader(options: list[str], nowhere: dict[str, str]) -> None:
    log = Path(nowhere["LAB_DIR"], "29000", "logs", "orders-1.jsonl")
    log.parent.mkdir(parents=True)
    line = json.dumps({"time": 1.0, "message": "x" * 100}) + "\n"
    log.write_text(line * 2000)  # more than a pipe holds
    child = subprocess.Popen(
        [sys.executable, "-m", "lab.cli", "logs", "--last", "2000", *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **nowhere},
    )
    assert child.stdout is not None
    assert child.stderr is not None
    assert child.stdout.readline()
    child.stdout.close()
    assert (child.wait(), child.stderr.read()) == (0, "")
    child.stderr.close()
