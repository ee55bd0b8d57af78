"""`lab notebook`: executes a notebook on a run; the result goes into the run's directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lab.nearest import nearest
from lab.options import AsJson, console, print_json
from lab.topology import PROJECT

NOTEBOOKS = PROJECT / "notebooks"


class NotebookError(Exception):
    """There is no such notebook, or a cell of it failed; the text names it."""

    def __init__(self, text: str, exit_code: int = 2) -> None:
        super().__init__(text)
        self.exit_code = exit_code


def notebook(
    name: Annotated[
        str,
        typer.Argument(help="The name of a file in notebooks/ (latency, traces, ...), or a path."),
    ],
    run: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="A run's directory, its name, a unique part of the name, or `latest` (default).",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Execute a notebook on a run; the executed copy goes into the run's directory."""
    from lab.archive import Run, find_run

    source, path = find_notebook(name), find_run(run).resolve()
    Run(path)  # a damaged archive is an error before a kernel starts
    target = execute(source, path)
    if as_json:
        print_json({"run": str(path), "notebook": str(target)})
    else:
        console().print(f"notebook  {target}", markup=False)


def find_notebook(name: str, folder: Path = NOTEBOOKS) -> Path:
    """The notebook's file, by name or path. Raises NotebookError with the nearest name."""
    for path in (folder / f"{name}.ipynb", Path(name)):
        if path.is_file():
            return path
    known = sorted(path.stem for path in folder.glob("*.ipynb"))
    raise NotebookError(f"no notebook {name!r}{nearest(name, known)}")


def execute(source: Path, run_dir: Path) -> Path:
    """Runs the notebook with `run` set to the archive; returns the path of the executed copy."""
    import papermill
    from papermill.exceptions import PapermillExecutionError
    from traitlets.config import Config

    target = run_dir / source.name
    try:
        papermill.execute_notebook(
            str(source),
            str(target),
            parameters={"run": str(run_dir)},
            cwd=str(PROJECT),
            progress_bar=False,
            log_output=False,
            # Sockets in a private folder: no port is opened for the kernel.
            config=Config({"KernelManager": {"transport": "ipc"}}),
        )
    except PapermillExecutionError as error:
        raise NotebookError(
            f"cell {error.exec_count} of {source.name} failed: {error.ename}: {error.evalue};"
            f" see {target}",
            exit_code=1,
        ) from None
    return target
