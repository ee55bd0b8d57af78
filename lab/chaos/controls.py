"""Chaos Toolkit control: checks that a lab runs, clears all faults at the end, and records each step.

If BREAKWATER_RUN_DIR is set (by `lab run`), every step becomes a line of that run's `chaos.ndjson`:
{time_s, what: experiment|hypothesis|method|activity|rollbacks, edge: begin|end, name, ...}.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from chaoslib.exceptions import InterruptExecution

from lab.chaos.faults.client import FaultClient
from lab.chaos.faults.errors import FaultRefusedError
from lab.chaos.probes import Configuration, configured_lab
from lab.chaos.running_lab import StateError

RUN_DIR = "BREAKWATER_RUN_DIR"
Context = dict[str, Any]


def before_experiment_control(
    context: Context, configuration: Configuration | None = None, **_: Any
) -> None:
    try:
        configured_lab(configuration)
    except StateError as error:
        raise InterruptExecution(str(error)) from None
    _record("experiment", "begin", context)


def after_experiment_control(
    context: Context, configuration: Configuration | None = None, **_: Any
) -> None:
    try:
        cleared = FaultClient(configured_lab(configuration)).clear()
    except (StateError, FaultRefusedError):
        cleared = -1  # the lab does not answer: faults end at their TTL
    _record("experiment", "end", context, cleared=cleared)


def before_hypothesis_control(context: Context, **_: Any) -> None:
    _record("hypothesis", "begin", context)


def after_hypothesis_control(context: Context, state: Any = None, **_: Any) -> None:
    met = state.get("steady_state_met") if isinstance(state, dict) else None
    _record("hypothesis", "end", context, met=met)


def before_method_control(context: Context, **_: Any) -> None:
    _record("method", "begin", context)


def after_method_control(context: Context, **_: Any) -> None:
    _record("method", "end", context)


def before_rollback_control(context: Context, **_: Any) -> None:
    _record("rollbacks", "begin", context)


def after_rollback_control(context: Context, **_: Any) -> None:
    _record("rollbacks", "end", context)


def before_activity_control(context: Context, **_: Any) -> None:
    # a pause before the activity follows: the journal has the activity's own times
    _record("activity", "begin", context, **_kind(context))


def after_activity_control(context: Context, state: Any = None, **_: Any) -> None:
    done = state if isinstance(state, dict) else {}
    ended = {"status": done.get("status"), "exception": (done.get("exception") or [])[-1:]}
    _record("activity", "end", context, **ended, **_kind(context))


def _kind(context: Context) -> dict[str, Any]:
    """Probes with a tolerance belong to the hypothesis; they run repeatedly."""
    return {"type": context.get("type"), "tolerance": context.get("tolerance")}


def _record(what: str, edge: str, context: Context, **more: Any) -> None:
    run_dir = os.environ.get(RUN_DIR)
    if run_dir:
        name = context.get("name") or context.get("title")
        line = {"time_s": time.time(), "what": what, "edge": edge, "name": name, **more}
        with (Path(run_dir) / "chaos.ndjson").open("a") as file:
            file.write(json.dumps(line, default=str) + "\n")
