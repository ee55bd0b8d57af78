"""The claim of a run, read from the experiment file and its `breakwater` extension block."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import yaml

from lab.archive import ArchiveError, Run


@dataclass(frozen=True)
class Claim:
    """The claim under test: `sentence`, SLIs, expectations; and the experiment's title.

    `not_asked`: invariants that do not decide the verdict: {id: reason}.
    """

    title: str = ""
    description: str = ""
    sentence: str = ""
    profile: str = ""
    slis: tuple[dict[str, Any], ...] = ()
    not_asked: dict[int, str] = field(default_factory=dict)
    expects: dict[str, Any] = field(default_factory=dict)
    hypothesis: str = ""
    actions: tuple[str, ...] = ()
    activities: tuple[str, ...] = ()
    rollbacks: tuple[str, ...] = ()
    experiment: dict[str, Any] = field(default_factory=dict)


def claim_of(run: Run) -> Claim:
    """The run's claim, from experiment.yaml or the copy in the journal; of a load, the limits of its profile.

    Raises ArchiveError if the file is damaged.
    """
    if run.is_load:
        return _of_load(run)
    experiment = _experiment(run)
    block: dict[str, Any] = next(
        (
            each
            for each in experiment.get("extensions") or []
            if isinstance(each, dict) and each.get("name") == "breakwater"
        ),
        {},
    )
    method = experiment.get("method") or []
    return Claim(
        title=str(experiment.get("title", "")),
        description=str(experiment.get("description", "")).strip(),
        sentence=str(block.get("claim", "")).strip(),
        profile=str(block.get("load", run.info.get("profile", "")) or ""),
        slis=tuple(block.get("slis") or ()),
        not_asked=dict(block.get("not_asked") or {}),
        expects=dict(block.get("expects") or {}),
        hypothesis=str((experiment.get("steady-state-hypothesis") or {}).get("title", "")),
        actions=_names(each for each in method if each.get("type") == "action"),
        activities=_names(method),
        rollbacks=_names(experiment.get("rollbacks") or []),
        experiment=experiment,
    )


def _of_load(run: Run) -> Claim:
    profile, limits = str(run.info.get("profile", "")), run.info.get("limits") or ()
    return Claim(
        title="Load by shoppers of Locust's page" if run.is_closed_loop else f"The load {profile}",
        sentence=f"the shop keeps the limits of the load {profile}" if limits else "",
        profile=profile,
        slis=tuple({**limit, "window": "all"} for limit in limits),
    )


def _names(activities: Iterable[dict[str, Any]]) -> tuple[str, ...]:
    return tuple(str(each.get("name", "")) for each in activities)


def _experiment(run: Run) -> dict[str, Any]:
    file = run.path / "experiment.yaml"
    if file.is_file():
        try:
            experiment = yaml.safe_load(file.read_text())
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ArchiveError(f"{file} is damaged: {error}") from None
        if not isinstance(experiment, dict):
            raise ArchiveError(f"{file} is damaged: it does not contain an experiment")
        return experiment
    journal = run.journal or {}
    return dict(journal.get("experiment") or {})
