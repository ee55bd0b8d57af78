"""Plants known bugs in a copy of the shop, runs a whole lab with each, and prints which of them a run convicts.

    python bench/mutants.py [NAME ...] [--list] [--seed 1] [--archives FOLDER] [--no-control] [--json]
    python bench/mutants.py [NAME ...] --judge FOLDER [--json]

Without a NAME it runs the whole table (bench/mutants_table). First, as `clean`, it runs the shop without a bug
under each experiment that the chosen bugs need. Each row has the experiment, the verdict, the exit code of
`lab run`, the seconds, the invariants that are violated, and the reasons.

A bug is convicted if the verdict is `deviated` and an invariant about its class is violated (ABOUT in
bench/mutants_table/mutant.py). A run that deviates by another check deviates by chance. An invalid or undecided
run convicts nothing. Exit 0 if every bug is convicted and the shop without a bug is not, else 1. The copies and
their labs are deleted, and their archives too, but `--archives` keeps them in FOLDER. `--judge` judges kept
archives again, and runs nothing: a new check needs no new runs.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "system")]

from bench.lab_command import free_port_base, run_lab  # noqa: E402
from bench.mutants_table import MUTANTS  # noqa: E402
from bench.mutants_table.mutant import ABOUT, CLEAN, Mutant  # noqa: E402
from lab.analysis.consistency import INVARIANTS  # noqa: E402
from lab.analysis.verdict.verdict import judge  # noqa: E402
from lab.archive import Run  # noqa: E402
from lab.chaos.experiment.loader import load_experiment  # noqa: E402
from lab.nearest import nearest  # noqa: E402
from lab.state import Lab  # noqa: E402

COPIED = ("system", "lab", "experiments", "loadtests", "bench/mutants_table")
UP_S, RUN_S, DOWN_S = 120, 300, 60
# at the end of the mutated module: each process that imports it reports from where
WITNESS = """
with open({path!r}, "a") as _witness:
    _witness.write(f"{{__import__('os').getpid()}} {{__file__}}\\n")
"""


class NotLoadedError(Exception):
    """The services of the lab did not load the mutated module."""


class CommandFailedError(Exception):
    """A `lab` command ended with an unexpected exit code."""


@dataclass
class Row:
    """The result of one run. `verdict`: held, deviated, undecided, invalid, or `none` without a verdict."""

    name: str
    kind: str
    experiment: str
    verdict: str = "none"
    exit_code: int | None = None
    invariants: list[str] = field(default_factory=list)
    named: list[int] = field(default_factory=list)  # those of them that are about this class
    reasons: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def convicted(self) -> bool:
        return self.verdict == "deviated" and bool(self.named)

    @property
    def by_chance(self) -> bool:
        return self.verdict == "deviated" and not self.named

    @property
    def ok(self) -> bool:
        clean = self.verdict in ("held", "undecided")
        return clean if self.name == CLEAN.name else self.convicted


@dataclass(frozen=True)
class Copy:
    """A copy of the checkout with one planted bug, and the file to which its processes report."""

    root: Path
    mutated: Path
    witness: Path
    port_base: int

    @property
    def home(self) -> Path:
        return self.root / ".lab" / str(self.port_base)

    def lab(self, *words: str, timeout_s: float) -> tuple[int, str]:
        """Run one `lab` command of the copy: its exit code and its stdout. SIGTERM if it is interrupted."""
        return run_lab(self.root, self.port_base, *words, timeout_s=timeout_s)

    def check_loaded(self) -> None:
        """Check that the processes of the lab import the mutated file. Raises NotLoadedError."""
        lines = self.witness.read_text().split("\n") if self.witness.exists() else []
        loaded = dict(line.split(" ", 1) for line in lines if line)
        pids = {str(entry.pid) for entry in Lab.load(self.home).entries}
        files = {file for pid, file in loaded.items() if pid in pids}
        if files != {str(self.mutated)}:
            raise NotLoadedError(
                f"the lab's processes loaded {sorted(files) or 'nothing'}, expected {self.mutated}"
            )


@contextmanager
def planted(mutant: Mutant) -> Iterator[Copy]:
    """A copy of the checkout with the bug, deleted at the end."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        root = Path(folder).resolve()
        root.chmod(0o755)  # PostgreSQL does not run as root, and reads its data below
        for name in COPIED:
            # with bytecode, because a start without it takes four times as long
            shutil.copytree(ROOT / name, root / name)
        mutated, witness = mutant.plant(root / "system"), root / "loaded"
        with mutated.open("a") as module:
            module.write(WITNESS.format(path=str(witness)))
        yield Copy(root, mutated, witness, free_port_base())


@contextmanager
def a_lab(copy: Copy, *, proxied: bool) -> Iterator[None]:
    """A lab of the copy, stopped at the end whatever happens. Raises CommandFailedError, NotLoadedError."""
    try:
        code, out = copy.lab("up", *(["--proxied"] if proxied else []), timeout_s=UP_S)
        if code:
            raise CommandFailedError(f"lab up ended with {code}: {out[-1000:]}")
        copy.check_loaded()
        yield
    finally:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # also for the child
        try:
            copy.lab("down", timeout_s=DOWN_S)
        finally:
            signal.signal(signal.SIGINT, before)


def run(mutant: Mutant, seed: int, archives: Path | None) -> Row:
    """Run the bug's experiment on a lab of its own. Raises NotLoadedError, DoesNotApplyError."""
    row = Row(mutant.name, mutant.kind, mutant.experiment)
    began = time.monotonic()
    experiment = ROOT / mutant.experiment
    plan = load_experiment(str(experiment) if experiment.is_file() else mutant.experiment).plan
    with planted(mutant) as copy:
        try:
            with a_lab(copy, proxied=plan.proxied):
                row.exit_code, out = copy.lab(
                    "run", mutant.experiment, "--seed", str(seed), "--json", timeout_s=RUN_S
                )
            read_verdict(row, *verdict_of(out))
        except (CommandFailedError, subprocess.TimeoutExpired) as error:
            row.reasons = [str(error)]
        if archives is not None and (runs := copy.root / ".lab" / "runs").is_dir():
            shutil.copytree(runs, archives / mutant.name, dirs_exist_ok=True)
    row.seconds = round(time.monotonic() - began, 1)
    return row


def judge_again(mutant: Mutant, archives: Path) -> list[Row]:
    """Judge the kept archives of the bug with the checks of today. The archives do not change."""
    rows = []
    for path in sorted((archives / mutant.name).glob("*/run.json")):
        kept = Run(path.parent)
        row = Row(mutant.name, mutant.kind, str(kept.info.get("experiment", "")))
        began = time.monotonic()
        verdict = judge(kept)
        row.exit_code = verdict["exit_code"]
        read_verdict(row, verdict, verdict["reasons"])
        row.seconds = round(time.monotonic() - began, 1)
        rows.append(row)
    return rows


def verdict_of(out: str) -> tuple[dict[str, Any], list[str]]:
    """verdict.json of the run that `lab run --json` names in its last line, and the reasons."""
    try:
        summary = json.loads(out.splitlines()[-1])
        return json.loads((Path(summary["run"]) / "verdict.json").read_text()), summary["reasons"]
    except (IndexError, ValueError, OSError) as error:
        return {}, [f"no verdict ({error}): {out[-1000:]}"]


def read_verdict(row: Row, verdict: dict[str, Any], reasons: list[str]) -> None:
    """Fill the row: the verdict, its reasons, the violated invariants and those about the class of the bug."""
    row.verdict, row.reasons = verdict.get("verdict", "none"), reasons
    violated = [each for each in verdict.get("invariants", ()) if each["status"] == "violated"]
    row.invariants = [f"{each['id']} {each['name']}" for each in violated]
    row.named = [each["id"] for each in violated if module_of(each["id"]) in ABOUT[row.kind]]


def module_of(invariant: int) -> str:
    """The module that checks the invariant: its class."""
    return INVARIANTS[invariant].find.__module__.rpartition(".")[2]


def show(row: Row, out: TextIO) -> None:
    if row.name == CLEAN.name:
        failed = "convicted" if row.verdict == "deviated" else "no control"
    else:
        failed = "by chance" if row.by_chance else "escaped"
    mark = "" if row.ok else f"  << {failed}"
    code = "-" if row.exit_code is None else str(row.exit_code)
    what = f"{row.name:<30} {row.kind:<17} {Path(row.experiment).stem:<16}"
    print(f"{what} {row.verdict:<9} {code:>2} {row.seconds:>6.1f} s{mark}", file=out)
    for line in [f"violated: {', '.join(row.invariants)}"] * bool(row.invariants) + row.reasons:
        print(f"    {line}", file=out)
    out.flush()


def show_table() -> None:
    for mutant in MUTANTS.values():
        print(f"{mutant.name:<30} {mutant.kind:<17} {mutant.file}\n    {mutant.description}")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument(
        "--list", action="store_true", help="print the table of bugs and run nothing"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--archives", type=Path, help="keep the archives of the runs in this folder"
    )
    parser.add_argument(
        "--judge", type=Path, help="judge the archives in this folder again, and run nothing"
    )
    parser.add_argument(
        "--no-control", action="store_true", help="do not run the shop without a bug first"
    )
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if given.list:
        show_table()
        return 0
    for name in given.names:
        if name not in MUTANTS:
            parser.error(f"no mutant {name!r}{nearest(name, MUTANTS)}")
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: sys.exit("stopped"))  # runs every `finally`
    chosen = [MUTANTS[name] for name in dict.fromkeys(given.names or MUTANTS)]
    experiments = dict.fromkeys(mutant.experiment for mutant in chosen)
    rows: list[Row] = []
    controls = [CLEAN] if given.judge else [replace(CLEAN, experiment=x) for x in experiments]
    for mutant in [*([] if given.no_control else controls), *chosen]:
        found = (
            judge_again(mutant, given.judge)
            if given.judge
            else [run(mutant, given.seed, given.archives)]
        )
        for row in found:
            show(row, sys.stderr if given.json else sys.stdout)
        rows += found
    if given.json:
        figures: list[dict[str, Any]] = [
            {**asdict(row), "convicted": row.convicted} for row in rows
        ]
        print(json.dumps({"bench": "mutants", "rows": figures}))
    if not rows:
        parser.error(f"no archive of {', '.join(given.names) or 'the table'} in {given.judge}")
    return int(not all(row.ok for row in rows))


if __name__ == "__main__":
    sys.exit(main())
