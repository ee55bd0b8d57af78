"""Runs experiments on processes and on compose, one after another, and compares the verdicts.

    .venv/bin/python bench/runtimes.py [--port-base 8080] [--seed 1] [--profile light] [EXPERIMENT ...]

Prints the table of docs/compose.md. Requires an idle machine: a run on a busy machine is invalid.
Exit: 0 if both verdicts of every experiment are held, both deviated, or both undecided; else 1.
"""

import argparse
import json
import subprocess
import sys

from lab.analysis.verdict.answers import DEVIATED, EXIT_CODES, HELD, MEASURED, UNDECIDED
from lab.chaos.experiment.loader import EXPERIMENTS, experiment_files
from lab.runtimes.choose import NAMES
from lab.topology import PROJECT

LAB = PROJECT / ".venv/bin/lab"
VERDICTS = {code: each for each, code in EXIT_CODES.items() if each != MEASURED} | {2: "refused"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiments", nargs="*")
    parser.add_argument("--port-base", default="8080")
    parser.add_argument("--seed", default="1")
    parser.add_argument(
        "--profile", default="", help="a load profile instead of the experiment's own"
    )
    options = parser.parse_args()
    names = options.experiments or [file.stem for file in experiment_files(EXPERIMENTS)]
    print("| experiment | " + " | ".join(NAMES) + " | reason if invalid |\n|---|---|---|---|")
    agree = True
    for name in names:
        verdicts, reasons = [], []
        for runtime in NAMES:
            command = [LAB, "run", name, "--runtime", runtime, "--json"]
            command += ["--seed", options.seed, "--port-base", options.port_base]
            command += ["--profile", options.profile] if options.profile else []
            done = subprocess.run(command, capture_output=True, text=True)
            verdicts.append(VERDICTS.get(done.returncode, f"exit {done.returncode}"))
            if done.returncode == 3 and done.stdout.startswith("{"):
                reasons += json.loads(done.stdout).get("reasons", [])[:1]
        agree &= len(set(verdicts)) == 1 and verdicts[0] in (HELD, DEVIATED, UNDECIDED)
        print(f"| {name} | {' | '.join(verdicts)} | {'; '.join(reasons)} |", flush=True)
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
