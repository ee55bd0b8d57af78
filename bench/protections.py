"""Runs each experiment with and without the protection that it is about, and prints the figure that breaks.

    python bench/protections.py [NAME ...] [--keep FOLDER] [--with FOLDER] [--seed 1] [--check]

A NAME is an experiment or a correctness switch; default: all of both. Each run has a lab of its own, the same
seed and the same load. `--keep` keeps the archives, and a later call uses them again, so it continues one
that was interrupted.
`--with` uses the archives of a folder (.lab/runs) for the side with the protection. An archive of another
version of the experiment, of another seed or without a verdict is not used. `--check` runs nothing.

A call for all writes both tables into docs/experiments.md. Exit 0 if each named figure is kept with the protection
(or undecided) and broken without it, else 1. A run that is invalid, or that fails, counts as not shown.
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
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "system")]

from bench.lab_command import LabFailedError, own_lab  # noqa: E402
from bench.protection_figures import (  # noqa: E402
    BROKEN,
    KEPT,
    MISSING,
    UNDECIDED,
    Figure,
    between_marks,
    figure_of,
    markdown,
)
from lab.analysis.verdict.answers import INVALID  # noqa: E402
from lab.analysis.verdict.verdict import judge  # noqa: E402
from lab.archive import ArchiveError, Run  # noqa: E402
from lab.chaos.experiment.loader import experiment_files, find_experiment, load_experiment  # noqa: E402
from lab.chaos.experiment.protection import NoProtection  # noqa: E402
from lab.nearest import nearest  # noqa: E402

PAGE = ROOT / "docs" / "experiments.md"
RUN_S = 400


class NoRunError(Exception):
    """A run left no archive that can be judged."""


@dataclass(frozen=True)
class Case:
    """A protection, the options of `lab up` without it, and the figure that then breaks."""

    name: str
    experiment: str
    what: str
    without: tuple[str, ...]
    breaks: str
    profile: str = ""

    @property
    def load(self) -> str:
        return self.profile or load_experiment(self.experiment).plan.load


# The correctness switches of docs/invariants.md: each with an experiment and a load in which it is convicted.
SWITCHES = (
    Case("OUTBOX", "orders_crash", "", ("--set", "OUTBOX=off"), "invariant 15"),
    Case("IDEMPOTENCY", "orders_crash", "", ("--set", "IDEMPOTENCY=off"), "invariant 4"),
    Case("STOCK_GUARD", "orders_crash", "", ("--set", "STOCK_GUARD=off"), "invariant 3", "sale"),
    Case("SAGA_RESUME", "orders_crash", "", ("--set", "SAGA_RESUME=off"), "invariant 8"),
)


def protections() -> Iterator[Case]:
    """The case of each experiment; one without a switch has no options, so no run without its protection."""
    for file in experiment_files():
        protection = load_experiment(file.stem).plan.protection
        if protection is None:
            continue
        if isinstance(protection, NoProtection):
            yield Case(file.stem, file.stem, protection.no_switch, (), protection.shows)
        else:
            options = protection.without.options
            yield Case(file.stem, file.stem, protection.what, options, protection.breaks)


@dataclass(frozen=True)
class Row:
    """A case with the figure of each side. `without` is None if the protection has no switch."""

    case: Case
    kept: Figure
    without: Figure | None

    @property
    def shown(self) -> bool:
        with_it = self.kept.answer in (KEPT, UNDECIDED)
        return with_it and (self.without is None or self.without.answer == BROKEN)


class Runs:
    """Runs a side of a case on a lab of its own, or finds its archive in `keep` or `earlier`."""

    def __init__(self, keep: Path, earlier: Path | None, seed: int, *, check: bool) -> None:
        self.keep = keep
        self.earlier = earlier
        self.seed = seed
        self.check = check

    def figure(self, case: Case, options: tuple[str, ...]) -> Figure:
        """The figure of the case in one run; MISSING with the reason if there is no valid run."""
        began = time.monotonic()
        try:
            path = self.found(case, options) or self._made(case, options)
            run = Run(path)
            verdict = judge(run)
            found = figure_of(case.breaks, verdict, run.journal or {})
            if verdict["verdict"] == INVALID:
                found = Figure(f"invalid run ({verdict['reasons'][0]})", MISSING, found.limit)
        except (NoRunError, LabFailedError, ArchiveError, subprocess.TimeoutExpired) as error:
            found = Figure(str(error)[:300], MISSING)
        side = " ".join(options) or "with the protection"
        seconds = time.monotonic() - began
        print(f"{case.name:<28} {side:<40} {case.breaks}: {found} ({seconds:.0f} s)", flush=True)
        return found

    def found(self, case: Case, options: tuple[str, ...]) -> Path | None:
        """The newest archive of this side that can be used again."""
        folders = [self.keep / _folder(case, options)]
        if self.earlier is not None and not options:
            folders.append(self.earlier)
        for folder in folders:
            for path in sorted(folder.glob(f"*-{case.experiment}-{self.seed}"), reverse=True):
                if self._usable(path, case):
                    return path
        return None

    def _usable(self, path: Path, case: Case) -> bool:
        """A valid run of today's file with the case's load: an invalid one is made again."""
        own, today = path / "experiment.yaml", find_experiment(case.experiment)
        verdict = path / "verdict.json"
        return (
            verdict.is_file()
            and json.loads(verdict.read_text()).get("verdict") != INVALID
            and own.read_bytes() == today.read_bytes()
            and json.loads((path / "run.json").read_text())["profile"] == case.load
        )

    def _made(self, case: Case, options: tuple[str, ...]) -> Path:
        """The archive of a new run, in `keep`. Raises NoRunError, LabFailedError, TimeoutExpired."""
        if self.check:
            raise NoRunError("no archive, and --check runs nothing")
        target = self.keep / _folder(case, options)
        target.mkdir(parents=True, exist_ok=True)
        proxied = ("--proxied",) if load_experiment(case.experiment).plan.proxied else ()
        with own_lab(ROOT, *proxied, *options) as lab:
            profile = ("--profile", case.profile) if case.profile else ()
            words = ("run", case.experiment, "--seed", str(self.seed), *profile, "--json")
            out = lab.run(*words, timeout_s=RUN_S, codes=range(256))
            made = list((lab.folder / "runs").glob(f"*-{case.experiment}-{self.seed}"))
            if not made or not (made[0] / "verdict.json").is_file():
                raise NoRunError(f"no verdict: {out[-300:]}")
            return Path(shutil.move(made[0], target))


def _folder(case: Case, options: tuple[str, ...]) -> str:
    side = "-".join(options[1::2]).replace("=", "-") or "with"
    return f"{case.experiment}-{case.load}-{side}"


def tables(rows: Iterable[Row]) -> str:
    """The tables of docs/experiments.md: of the experiments and of the correctness switches."""
    about = {case.name for case in protections()}
    groups: tuple[list[tuple[str, ...]], list[tuple[str, ...]]] = [], []
    for row in rows:
        case = row.case
        options = f"`{' '.join(case.without)}`" if case.without else "no switch"
        figure = (case.breaks, row.kept.limit, str(row.kept), str(row.without or "-"))
        load = () if case.name in about else (f"`{case.experiment}`, `{case.load}`",)
        groups[bool(load)].append((f"`{case.name}`", *load, options, *figure))
    columns = ("off by", "figure", "limit", "with", "without")
    experiments = markdown(("experiment", *columns), groups[0])
    switches = markdown(("switch", "experiment and load", *columns), groups[1])
    return f"{experiments}\nThe correctness switches:\n\n{switches}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--keep", type=Path, help="keep the archives here, and use them again")
    parser.add_argument("--with", dest="earlier", type=Path, help="archives with the protection")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--check", action="store_true", help="only judge the archives there are")
    given = parser.parse_args()
    cases = {case.name: case for case in (*protections(), *SWITCHES)}
    for name in given.names:
        if name not in cases:
            parser.error(f"no experiment and no switch {name!r}{nearest(name, cases)}")
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: sys.exit("stopped"))  # runs every `finally`
    with tempfile.TemporaryDirectory(prefix="protections-archives-") as folder:
        runs = Runs(given.keep or Path(folder), given.earlier, given.seed, check=given.check)
        rows = []
        for name in given.names or cases:
            case = cases[name]
            kept = runs.figure(case, ())
            rows.append(Row(case, kept, runs.figure(case, case.without) if case.without else None))
    text = tables(rows)
    print(text)
    if not given.names:
        PAGE.write_text(between_marks(PAGE.read_text(), text))
    return int(not all(row.shown for row in rows))


if __name__ == "__main__":
    sys.exit(main())
