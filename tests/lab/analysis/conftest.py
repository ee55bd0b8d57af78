"""Archives for the tests: of the simulated shop, and tiny ones of given rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from lab.archive import Run
from tests.lab.analysis.archives import write_archive

Archive = Callable[..., Path]


@pytest.fixture(scope="session")
def clean_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clean simulated run; read-only."""
    return write_archive(tmp_path_factory.mktemp("archives") / "clean")


@pytest.fixture
def clean(clean_dir: Path) -> Run:
    return Run(clean_dir)


@pytest.fixture
def archive(tmp_path: Path) -> Callable[..., Path]:
    """`archive(mutant)`: a simulated run for one test, which may change it."""

    def make(mutant: str = "") -> Path:
        return write_archive(tmp_path / "run", mutant)

    return make


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., Run]:
    """`tiny(requests=[...], faults=[...], info={...})`: a run with exactly these rows."""

    def make(info: dict[str, Any] | None = None, **tables: Iterable[dict[str, Any]]) -> Run:
        path = tmp_path / "tiny"
        path.mkdir(exist_ok=True)
        (path / "run.json").write_text(json.dumps(info or {}))
        for name, rows in tables.items():
            lines = "".join(json.dumps(row) + "\n" for row in rows)
            (path / f"{name}.ndjson").write_text(lines)
        return Run(path)

    return make
