"""Finds an experiment file by name, checks it as Chaos Toolkit does, and reads the run's plan."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.chaos.experiment.names import check_names
from lab.chaos.experiment.plan import ExperimentPlan, read_plan
from lab.chaos.experiment.provider_calls import check_call
from lab.chaos.experiment.yaml_lines import Document, MalformedFileError
from lab.nearest import did_you_mean
from lab.strict_table import Where
from lab.topology import PROJECT

EXPERIMENTS = PROJECT / "experiments"
SHAPES = (
    ("rollbacks", list, "a list of actions; leave the key out if there is none"),
    ("extensions", list, "a list of extensions"),
    ("controls", list, "a list of controls"),
    ("configuration", dict, "a mapping"),
    ("secrets", dict, "a mapping"),
    ("runtime", dict, "a mapping"),
)
SUFFIXES = (".yaml", ".yml", ".json")


class UnknownExperimentError(Exception):
    """There is no experiment of that name; the text has the nearest name and all names."""


@dataclass(frozen=True)
class Experiment:
    """A checked experiment file. `stem` names the run, the notebook section and the report.

    fault_s: the longest TTL of its faults; None if none has a TTL.
    """

    path: Path
    title: str
    hypothesis: str
    plan: ExperimentPlan
    fault_s: float | None = None

    @property
    def stem(self) -> str:
        return self.path.stem


def load_experiment(name: str, folder: Path = EXPERIMENTS) -> Experiment:
    """The experiment `name` of the folder, or at a path. Raises UnknownExperimentError, MalformedFileError."""
    path = find_experiment(name, folder)
    document = Document(path)
    check(document)
    hypothesis = document.data.get("steady-state-hypothesis") or {}
    plan = read_plan(document)
    title, sentence = str(document.data["title"]), str(hypothesis.get("title", ""))
    return Experiment(path, title, sentence, plan, _fault_s(document.data["method"]))


def _fault_s(method: list[Any]) -> float | None:
    arguments = ((each.get("provider") or {}).get("arguments") or {} for each in method)
    ttls = [each["ttl_s"] for each in arguments if isinstance(each.get("ttl_s"), int | float)]
    return max(ttls, default=None)


def find_experiment(name: str, folder: Path = EXPERIMENTS) -> Path:
    """Its file. Raises UnknownExperimentError."""
    given = Path(name)
    if given.suffix in SUFFIXES and given.is_file():
        return given
    files = {file.stem: file for file in experiment_files(folder)}
    if name in files:
        return files[name]
    names = ", ".join(sorted(files)) or "none"
    raise UnknownExperimentError(
        f"no experiment {name!r}.{did_you_mean(given.stem, files)} Experiments: {names}"
    )


def experiment_files(folder: Path = EXPERIMENTS) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(file for file in folder.iterdir() if file.suffix in SUFFIXES)


def check(document: Document) -> None:
    """Checks all that `chaos validate` checks; the error has the line. Raises MalformedFileError."""
    data = document.data
    if not isinstance(data, dict):
        raise document.error("expected an experiment: a mapping with title, description, method")
    for key in ("title", "description"):
        if not isinstance(data.get(key), str) or not data[key]:
            raise document.error(f"expected a {key}: a sentence", key)
    if not isinstance(data.get("method"), list):
        raise document.error("expected a method: a list of actions and probes", "method")
    hypothesis = data.get("steady-state-hypothesis")
    if not isinstance(hypothesis, dict) or not hypothesis.get("title"):
        raise document.error(
            "expected a steady-state-hypothesis with a title: a sentence that a person can disagree with",
            "steady-state-hypothesis",
        )
    for key, kind, what in SHAPES:
        if key in data and not isinstance(data[key], kind):
            raise document.error(f"expected {key}: {what}", key)
    for index, block in enumerate(data.get("extensions") or ()):
        if not isinstance(block, dict):
            raise document.error(
                "expected an extension: a mapping with a name", "extensions", index
            )
    for where, activity in activities(data):
        _check_activity(document, where, activity)
    _check_as_the_toolkit(document)
    check_names(document, activities(data))


def activities(data: dict[str, Any]) -> Iterator[tuple[Where, Any]]:
    """Every activity, with its place in the file."""
    hypothesis = data.get("steady-state-hypothesis") or {}
    for where, rows in (
        (("steady-state-hypothesis", "probes"), hypothesis.get("probes")),
        (("method",), data.get("method")),
        (("rollbacks",), data.get("rollbacks")),
    ):
        for index, activity in enumerate(rows or ()):
            yield (*where, index), activity


def _check_activity(document: Document, where: Where, activity: Any) -> None:
    if not isinstance(activity, dict):
        raise document.error("expected an activity with type, name and provider", *where)
    if "ref" in activity:
        return
    if where[0] == "steady-state-hypothesis" and "tolerance" not in activity:
        raise document.error("expected a tolerance: a probe of the hypothesis needs one", *where)
    provider = activity.get("provider")
    if not isinstance(provider, dict):
        raise document.error("expected an activity with a provider", *where)
    if provider.get("type") == "python":
        check_call(document, (*where, "provider"), provider)


def _check_as_the_toolkit(document: Document) -> None:
    from chaoslib.exceptions import ChaosException
    from chaoslib.experiment import ensure_experiment_is_valid

    try:
        ensure_experiment_is_valid(document.data)
    except ChaosException as error:
        named = re.findall(r"'([^']+)'", str(error))
        lines = (document.line_of(name) for name in named)
        line = next((line for line in lines if line), 1)
        raise MalformedFileError(document.path, line, f"Chaos Toolkit: {error}") from None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # the toolkit assumes shapes that it does not check
        complaint = f"Chaos Toolkit cannot read it: {type(error).__name__}: {error}"
        raise MalformedFileError(document.path, 1, complaint) from None
