"""Observers are optional: they are used where they are found."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from lab.runtimes.servers import observers
from lab.runtimes.servers.binaries import ServerMissingError


def program(folder: Path, name: str = "jaeger") -> Path:
    path = folder / name
    path.write_text("#!/bin/sh\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_an_observer_on_the_path_is_found(tmp_path: Path) -> None:
    path = program(tmp_path)
    found = observers.find("jaeger", {"PATH": str(tmp_path)})
    assert found is not None
    assert (found.path, found.source) == (path, "PATH")


def test_a_configured_observer_comes_before_the_path(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    program(tmp_path)
    named = program(tmp_path / "other", "jaeger-2")
    found = observers.find("jaeger", {"PATH": str(tmp_path), "LAB_JAEGER": str(named)})
    assert found is not None
    assert (found.path, found.source) == (named, "configured")


def test_a_missing_observer_is_not_found(tmp_path: Path) -> None:
    assert observers.find("jaeger", {"PATH": str(tmp_path)}) is None


def test_off_excludes_an_observer_on_the_path(tmp_path: Path) -> None:
    program(tmp_path)
    assert observers.find("jaeger", {"PATH": str(tmp_path), "LAB_JAEGER": "off"}) is None


def test_a_configured_observer_that_is_no_program_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ServerMissingError, match=r"LAB_JAEGER=.* is not a program"):
        observers.find("jaeger", {"PATH": "", "LAB_JAEGER": str(tmp_path)})
