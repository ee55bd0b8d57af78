"""The project's version is defined once, in lab/__init__.py."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from lab import __version__
from lab.cli import run
from lab.render.prometheus import labels_of

ROOT = Path(__file__).parents[2]


def test_the_package_takes_its_version_from_the_module() -> None:
    content = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert content["project"]["dynamic"] == ["version"]
    assert content["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "lab.__version__"}


def test_the_command_line_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"breakwater {__version__}\n"


def test_it_is_the_default_release_of_the_services() -> None:
    assert labels_of("orders", "orders-1", {})["version"] == __version__
    compose = (ROOT / "docker-compose.yml").read_text()
    assert re.findall(r"\$\{VERSION:-(.+?)\}", compose) == [__version__]
