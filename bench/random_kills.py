"""Kills random processes of a shop under load, by SIGKILL, and counts what was lost.

    python bench/random_kills.py [--kills 200] [--each 40] [--seed 1] [--keep FOLDER]

Each run has a lab of its own and EACH kills: one to four seconds apart, of any instance of a service or of a store
(PostgreSQL, NATS, Valkey), drawn from the seed. After it the audit asks every invariant. The verdict of a run is
not the question here (a shop without a database refuses orders): what counts is that no invariant is violated and
that each could be asked. Prints a line for each run and JSON. Exit 0 if nothing was lost, else 1.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "system")]

from bench.lab_command import LabFailedError, own_lab  # noqa: E402
from bench.mutants import verdict_of  # noqa: E402
from lab.state import Lab  # noqa: E402

RUN_S = 600
STORES = ("postgres", "nats", "valkey")
PAUSE_S = (1.0, 4.0)
ACTIONS = "lab.chaos.actions"


def experiment(victims: Sequence[str], draw: random.Random) -> dict[str, Any]:
    """A Chaos Toolkit experiment that kills the victims one after another."""
    python = {"type": "python", "module": ACTIONS}
    kills = [
        {
            "name": f"kill {number}: {victim}", "type": "action",
            "pauses": {"before": round(draw.uniform(*PAUSE_S), 2)},
            "provider": {**python, "func": "kill_instance", "arguments": {"target": victim}},
        }
        for number, victim in enumerate(victims, 1)
    ]  # fmt: skip
    ready: dict[str, Any] = {
        "name": "every instance is ready", "type": "probe",
        "provider": {"type": "python", "module": "lab.chaos.probes", "func": "becomes_ready",
                     "arguments": {"within_s": 30}},
    }  # fmt: skip
    lasts_s = round(len(victims) * (sum(PAUSE_S) / 2 + 0.5) + 20)
    return {
        "title": "Random processes are killed and nothing is lost",
        "description": f"{len(victims)} kills of services and stores under load.",
        "tags": ["kills"],
        "configuration": {"port_base": {"type": "env", "key": "LAB_PORT_BASE", "default": ""}},
        "runtime": {"rollbacks": {"strategy": "always"}},
        "controls": [
            {"name": "breakwater", "provider": {"type": "python", "module": "lab.chaos.controls"}}
        ],
        "steady-state-hypothesis": {
            "title": "Every instance is ready before the kills and after them.",
            "probes": [
                {"name": "all instances are ready", "type": "probe", "tolerance": True,
                 "provider": {"type": "python", "module": "lab.chaos.probes", "func": "all_ready"}}
            ],
        },
        "method": [*kills, ready],
        "rollbacks": [
            {"name": "all faults are removed", "type": "action",
             "provider": {**python, "func": "clear_faults"}}
        ],
        "extensions": [{
            "name": "breakwater",
            "claim": "what is acknowledged survives the death of any process",
            "load": "checkout",
            "phases": {"warmup_s": 8, "before_s": 2, "method_s": lasts_s, "recovery_s": 10, "after_s": 5},
            "slis": [],
        }],
    }  # fmt: skip


def run(kills: int, seed: int, keep: Path | None) -> dict[str, Any]:
    """One lab, one run: its kills, the violated and the unanswered invariants. Raises as own_lab."""
    draw = random.Random(seed)
    with own_lab(ROOT) as lab:
        instances = [each.name for each in Lab.load(lab.folder / str(lab.port_base)).instances]
        victims = draw.choices([*instances, *STORES], k=kills)
        file = lab.folder / "random_kills.yaml"
        file.write_text(yaml.safe_dump(experiment(victims, draw), sort_keys=False))
        words = ("run", str(file), "--seed", str(seed), "--json")
        out = lab.run(*words, timeout_s=RUN_S + 4 * kills, codes=range(256))
        verdict, reasons = verdict_of(out)
        if keep is not None and (lab.folder / "runs").is_dir():
            shutil.copytree(lab.folder / "runs", keep, dirs_exist_ok=True)
    asked = verdict.get("invariants", [])
    return {
        "seed": seed,
        "kills": sum(fault["kind"] == "kill" for fault in verdict.get("faults", [])),
        "verdict": verdict.get("verdict"),
        "violated": [
            f"{each['id']} {each['name']}" for each in asked if each["status"] == "violated"
        ],
        "unanswered": [each["id"] for each in asked if each["status"] == "no_data"],
        "asked": len(asked),
        "reasons": reasons,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--each", type=int, default=40, help="kills of one run")
    parser.add_argument(
        "--seed", type=int, default=1, help="of the first run; the next has the next"
    )
    parser.add_argument("--keep", type=Path, help="keep the archives in this folder")
    given = parser.parse_args()
    if given.kills < 1 or given.each < 1:
        parser.error("--kills and --each are 1 or more")
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: sys.exit("stopped"))  # runs every `finally`
    rows = []
    for number, first in enumerate(range(0, given.kills, given.each)):
        try:
            row = run(min(given.each, given.kills - first), given.seed + number, given.keep)
        except (LabFailedError, subprocess.TimeoutExpired) as error:
            row = {"seed": given.seed + number, "failed": str(error)[:300]}
        rows.append(row)
        print(row, file=sys.stderr, flush=True)
    lost = [row for row in rows if not row.get("asked") or row["violated"] or row["unanswered"]]
    kills = sum(row.get("kills", 0) for row in rows)
    print(json.dumps({"bench": "random_kills", "kills": kills, "lost": len(lost), "rows": rows}))
    return int(bool(lost) or kills < given.kills)


if __name__ == "__main__":
    sys.exit(main())
