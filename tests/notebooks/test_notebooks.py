"""Each notebook executes on any archive and is stored without outputs."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest

from lab.archive import seal
from lab.commands.notebook import NOTEBOOKS, NotebookError, execute
from tests.lab.analysis.archives import write_archive

NAMES = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))


@pytest.fixture(scope="module")
def disturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed run with a fault, breakers that opened and every audit table."""
    path = write_archive(tmp_path_factory.mktemp("notebooks") / "run")
    seal(path)
    return path


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of load alone: no experiment, no fault, no breaker event, no audit."""
    path = write_archive(tmp_path_factory.mktemp("notebooks") / "quiet")
    for name in ("experiment.yaml", "journal.json", "faults.ndjson", "breakers.ndjson"):
        (path / name).unlink()
    for table in (path / "state").iterdir():
        table.unlink()
    return path


def test_the_three_main_notebooks_exist() -> None:
    assert {"latency", "circuit_breakers", "consistency"} <= set(NAMES)


@pytest.mark.notebook
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["disturbed", "quiet"])
def test_a_notebook_runs_on_any_archive(
    name: str, kind: str, request: pytest.FixtureRequest
) -> None:
    path: Path = request.getfixturevalue(kind)
    done = nbformat.read(execute(NOTEBOOKS / f"{name}.ipynb", path), as_version=4)
    pictures = [
        output
        for cell in done.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) >= (2 if kind == "disturbed" else 1)


@pytest.mark.notebook
def test_the_error_of_a_failed_cell_names_the_exception(tmp_path: Path, disturbed: Path) -> None:
    notebook = nbformat.read(NOTEBOOKS / "latency.ipynb", as_version=4)
    notebook.cells = [*notebook.cells[:2], nbformat.v4.new_code_cell("1 / 0")]
    broken = tmp_path / "broken.ipynb"
    nbformat.write(notebook, broken)
    with pytest.raises(NotebookError, match="ZeroDivisionError") as caught:
        execute(broken, disturbed)
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_stored_without_outputs(name: str) -> None:
    notebook = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text())
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code)
    tagged = [cell for cell in code if "parameters" in cell["metadata"].get("tags", [])]
    assert ["".join(cell["source"]).split("#")[0].strip() for cell in tagged] == ["run = None"]


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_has_predictions_and_exercises(name: str) -> None:
    cells = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text())["cells"]
    text = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    assert sum("**Predict.**" in each for each in text) >= 4
    assert sum("Your turn" in each for each in text) == 1
