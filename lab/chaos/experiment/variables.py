"""The values of an experiment's variables: what `${name}` in an argument stands for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Variables:
    """`configuration` by name, `secrets` by group and name, as Chaos Toolkit passes them to an activity."""

    configuration: dict[str, Any] = field(default_factory=dict)
    secrets: dict[str, Any] = field(default_factory=dict)


def variables_of(experiment: Path, port_base: int) -> Variables:
    """Those of an experiment's file, found as the toolkit finds them, on the lab of `port_base`.

    A variable of type `probe` runs its probe. Raises InvalidExperiment if the environment lacks a value.
    """
    from chaoslib.configuration import load_configuration, load_dynamic_configuration
    from chaoslib.secret import load_secrets

    data = yaml.safe_load(experiment.read_text())
    configuration = load_configuration(data.get("configuration") or {})
    configuration["port_base"] = port_base
    secrets = load_secrets(data.get("secrets") or {}, configuration)
    return Variables(load_dynamic_configuration(configuration, secrets), secrets)
