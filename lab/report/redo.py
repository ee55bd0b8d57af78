"""The commands that repeat a run."""

from __future__ import annotations

import shlex

from lab.analysis.verdict.claim import claim_of
from lab.archive import Run


def redo(run: Run) -> list[str]:
    """The commands for a shell; empty for an archive that no run wrote."""
    info = run.info
    if "run_id" not in info:
        return []
    settings = [("--set", f"{name}={value}") for name, value in info.get("settings", {}).items()]
    runtime = (
        ["--runtime", info["runtime"]] if info.get("runtime", "processes") != "processes" else []
    )
    up = ["lab", "up", *runtime, *(word for pair in settings for word in pair)]
    seed = ["--seed", str(info.get("seed", 1))]
    if run.is_closed_loop:
        again = ["lab", "load", "--ui", *seed]
    elif run.is_load:
        seconds = f"{(info.get('load') or {}).get('schedule_s', 60):g}"
        again = ["lab", "load", info.get("profile", ""), "--duration", seconds, *seed]
    else:
        own = claim_of(run).profile
        profile = ["--profile", info["profile"]] if info.get("profile", own) != own else []
        again = ["lab", "run", info.get("experiment") or "", *seed, *profile]
        if not settings:
            return [shlex.join([*again, *runtime])]  # `lab run` starts the lab that it needs
    return [shlex.join(up), shlex.join(again)]
