"""Hand-written files that repeat the topology agree with it, and a difference is reported."""

import dataclasses
from pathlib import Path

import pytest

from lab import cli
from lab.render import checks, compose
from lab.topology import PROJECT, Topology, load


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the checked files."""
    for path in (checks.PROJECT_FILE, compose.FILE, checks.JAEGER_PAGE):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text((PROJECT / path).read_text())
    return tmp_path


def problems(topology: Topology, project: Path) -> str:
    return "\n".join(each for file in checks.check(topology, project) for each in file.problems)


def test_the_committed_files_agree_with_the_topology() -> None:
    assert problems(load(), PROJECT) == ""


def test_a_service_that_the_import_contract_lacks_is_reported(project: Path) -> None:
    topology = load()
    services = {**topology.services, "carts": topology.services["orders"]}
    found = problems(dataclasses.replace(topology, services=services), project)
    assert found == "the contract 'services never import each other' lacks shop.carts"


def test_a_listed_service_that_does_not_exist_is_reported(project: Path) -> None:
    topology = load()
    services = {name: each for name, each in topology.services.items() if name != "bank"}
    found = problems(dataclasses.replace(topology, services=services), project)
    assert "has shop.bank, which is no service of the topology" in found


@pytest.mark.parametrize(
    ("here", "there", "problem"),
    [
        (
            "${PORT_WATCH:-8180}",
            "${PORT_WATCH:-8181}",
            "PORT_WATCH defaults to 8181, expected 8180",
        ),
        ("limits: {memory: 78M,", "limits: {memory: 80M,", "limited to 80M, expected 78M"),
        ('--smtp-port, "8174"', '--smtp-port, "8175"', "mail has --smtp-port 8175, expected 8174"),
        ('--expose, --port, "8380"', '--expose, --port, "8381"', "proxy has --port 8381"),
    ],
)
def test_another_port_or_memory_limit_is_reported(
    project: Path, here: str, there: str, problem: str
) -> None:
    path = project / compose.FILE
    text = path.read_text()
    assert here in text
    path.write_text(text.replace(here, there))
    assert problem in problems(load(), project)


def test_another_distance_of_the_recorder_from_jaeger_is_reported(project: Path) -> None:
    path = project / checks.JAEGER_PAGE
    path.write_text(path.read_text().replace("port) - 5;", "port) - 6;"))
    assert problems(load(), project) == "the recorder's port is 5 below Jaeger's"


def test_render_fails_where_a_hand_written_file_differs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = [checks.Checked("pyproject.toml", ["the contract lacks shop.carts"])]
    monkeypatch.setattr("lab.render.checks.check", lambda topology: wrong)
    assert cli.run(["render", "--check"]) == 1
    out = capsys.readouterr().out
    assert "differs   pyproject.toml\nthe contract lacks shop.carts" in out
