"""promtool, as Prometheus' package has it: on PATH, or unpacked from the distribution's package."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lab.runtimes.servers import apt_packages
from lab.runtimes.servers.binaries import ServerMissingError


def promtool() -> str:
    """The program; a test that requires it is skipped only where it cannot be found or unpacked."""
    if found := shutil.which("promtool"):
        return found
    try:
        return str(apt_packages.unpack("prometheus").with_name("promtool"))
    except ServerMissingError as missing:
        pytest.skip(f"RULES AND ALERTS ARE NOT CHECKED, there is no promtool: {missing}")


def accepts(*argv: str | Path) -> None:
    """`promtool argv...` succeeds, or its words are the failure."""
    done = subprocess.run([promtool(), *argv], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


def holds(folder: Path, rules: list[Path], tests: list[dict[str, Any]]) -> None:
    """`promtool test rules` of these tests (as its documentation has them) against `rules`."""
    path = folder / "tests.yml"
    document = {
        "rule_files": [str(each) for each in rules], "evaluation_interval": "2s", "tests": tests,
    }  # fmt: skip
    path.write_text(json.dumps(document, indent=1))  # JSON is YAML
    accepts("test", "rules", path)
