"""The rules that keep the code easy to find: layers, small folders, small files, names."""

import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

from lab.topology import PROJECT

FILES_MAX, LINES_MAX = 16, 350
# one file for each fault, policy, command
CATALOGUES = {"system/chassis/faults", "system/chassis/resilience", "lab/commands"}
SOURCES = sorted(path for root in ("system", "lab") for path in (PROJECT / root).rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(PROJECT).as_posix()


def test_no_layer_imports_a_higher_one() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = grimp.build_graph("lab", "shop", "contracts", "chassis", cache_dir=None)
    imports = {each: graph.find_modules_directly_imported_by(each) for each in graph.modules}
    TopologicalSorter(imports).prepare()  # CycleError names the circle


@pytest.mark.parametrize("folder", sorted({name_of(path.parent) for path in SOURCES} - CATALOGUES))
def test_a_folder_has_at_most_16_files(folder: str) -> None:
    files = [path.name for path in (PROJECT / folder).iterdir() if path.is_file()]
    assert len(files) <= FILES_MAX, files


def test_a_file_has_at_most_350_lines() -> None:
    lines = {name_of(path): len(path.read_text().splitlines()) for path in SOURCES}
    assert {name: count for name, count in lines.items() if count > LINES_MAX} == {}


def test_no_module_is_named_after_nothing() -> None:
    vague = {"utils.py", "util.py", "common.py", "helpers.py", "misc.py"}
    tests = (PROJECT / "tests").rglob("*.py")
    assert [name_of(path) for path in [*SOURCES, *tests] if path.name in vague] == []


def test_no_test_imports_from_a_conftest() -> None:
    tests = [path for path in (PROJECT / "tests").rglob("*.py") if path != Path(__file__)]
    assert [name_of(path) for path in tests if "conftest import" in path.read_text()] == []
