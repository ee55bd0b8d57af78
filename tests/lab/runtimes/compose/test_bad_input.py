"""An engine that is missing, down, too old or failing is reported in one message with advice."""

from pathlib import Path

import pytest

from lab.runtimes.compose import compose_cli
from lab.runtimes.compose.compose_cli import EngineError, explained
from lab.runtimes.compose.runtime import ComposeRuntime
from lab.runtimes.supervisor.launch import UpFailedError
from lab.topology import DEFAULT_PATH
from tests.fixtures.labs import free_port_base


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `docker` of our own on PATH; the test writes what it does."""
    program = tmp_path / "docker"
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    return program


def answers(program: Path, script: str) -> None:
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_without_docker_the_error_names_where_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineError, match="no `docker` on PATH: install it"):
        compose_cli.check()


def test_an_engine_that_is_down_is_distinguished_from_a_missing_one(docker: Path) -> None:
    answers(docker, "echo 'Cannot connect to the Docker daemon' >&2; exit 1")
    with pytest.raises(EngineError, match=r"does not answer \(Cannot connect.*start it"):
        compose_cli.check()


def test_the_error_for_an_old_engine_names_its_version(docker: Path) -> None:
    answers(docker, "echo 19.03.15")
    with pytest.raises(EngineError, match=r"engine is 19\.03\.15, 20\.10 is required"):
        compose_cli.check()


def test_a_missing_compose_plugin_is_named(docker: Path) -> None:
    answers(docker, '[ "$1" = version ] && echo 27.0.1 || exit 1')
    with pytest.raises(EngineError, match="`docker compose` is missing"):
        compose_cli.check()


def test_the_error_for_an_old_compose_names_its_version(docker: Path) -> None:
    answers(docker, '[ "$1" = version ] && echo 27.0.1 || echo 2.5.0')
    with pytest.raises(EngineError, match=r"docker compose is 2\.5\.0, 2\.20 is required"):
        compose_cli.check()


def test_an_engine_and_a_compose_that_are_new_enough_are_accepted(docker: Path) -> None:
    answers(docker, '[ "$1" = version ] && echo 20.10.24+dfsg1 || echo 2.40.3-3')
    compose_cli.check()


def test_the_engines_address_comes_from_docker_host_or_the_context(
    docker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(docker, "echo unix:///somewhere/docker.sock")
    assert compose_cli.endpoint() == "unix:///somewhere/docker.sock"
    monkeypatch.setenv("DOCKER_HOST", "ssh://far")
    with pytest.raises(EngineError, match="expected unix:// or tcp://"):
        compose_cli.endpoint()


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("write /x: no space left on device", "docker system prune"),
        ("Bind for 127.0.0.1:8080 failed: port is already allocated", "--port-base"),
        ("dial tcp: lookup registry: no such host", "docker compose pull"),
    ],
)
def test_a_known_error_of_compose_comes_with_advice(said: str, advice: str) -> None:
    text = explained(f"Container a  Creating\nError: {said}\n")
    assert said in text
    assert advice in text
    assert "Creating" not in text


def test_databases_with_lost_passwords_are_reported_before_anything_starts(
    docker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = f'echo "$@" >> {tmp_path}/asked; case "$1 $2" in "version "*) echo 27.0.1;; '
    answers(docker, script + '"compose version") echo 2.40.3;; "volume inspect") exit 0;; esac')
    monkeypatch.setenv("LAB_DIR", str(tmp_path / "labs"))
    with pytest.raises(UpFailedError, match=r"has the volume breakwater-\d+_postgres.*\n.*--fresh"):
        ComposeRuntime(free_port_base(DEFAULT_PATH)).up()
    assert "up --detach" not in (tmp_path / "asked").read_text()
