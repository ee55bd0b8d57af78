"""Experiment files whose names do not exist, whose shape is wrong, or that are JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.chaos.experiment.loader import EXPERIMENTS, load_experiment
from lab.chaos.experiment.yaml_lines import MalformedFileError
from lab.run.run_dir import copy_experiment

GOOD = (EXPERIMENTS / "payments_slow.yaml").read_text()


def refused(tmp_path: Path, text: str, suffix: str = ".yaml") -> str:
    path = tmp_path / f"wrong{suffix}"
    path.write_text(text)
    with pytest.raises(MalformedFileError) as caught:
        load_experiment(str(path))
    return str(caught.value).removeprefix(f"{path}:")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("kind: latency", "kind: latencyy", "did you mean 'latency'?"),
        ("target: bank", "target: bnak", "did you mean 'bank'?"),
        ("target: bank", "target: bnak-1", "did you mean 'bank'?"),
        ('edge: "payments->bank", state', 'edge: "payments->bnk", state', "did you mean 'bank'?"),
        (
            "scope: {route: /authorizations}",
            "scope: {failpoint: orders.before_x}",
            "orders.before_",
        ),
        ("route: POST /api/orders", "route: POST /api/order", "did you mean 'POST /api/orders'?"),
        ("ttl_s: 32 ", "ttl_s: ${seconds} ", "no configuration or secret 'seconds'"),
        (
            "load: ordering",
            "load: ordering\n    guard: [{name: x, tolerance: open, for_s: 1, provider: {module: lab.chaos.probes,"
            ' func: breaker_state, arguments: {edge: "payments->bnk"}}}]',
            "did you mean 'bank'?",
        ),
        ("extensions:\n", "extensions:\n  - word\n", "expected an extension: a mapping"),
        ("tags: [payments", "tags: &x [*x, payments", "contains itself"),
    ],
)
def test_a_name_that_does_not_exist_is_refused_with_its_line(
    tmp_path: Path, old: str, new: str, complaint: str
) -> None:
    assert old in GOOD
    text = refused(tmp_path, GOOD.replace(old, new, 1))
    assert complaint in text
    assert text.partition(":")[0].isdigit()


@pytest.mark.parametrize(
    "key", ["rollbacks", "extensions", "controls", "configuration", "method", "runtime"]
)
@pytest.mark.parametrize("value", [None, "word", 3])
def test_a_part_of_the_wrong_shape_is_refused_by_its_name(
    tmp_path: Path, key: str, value: Any
) -> None:
    data = yaml.safe_load(GOOD) | {key: value}
    assert key in refused(tmp_path, yaml.safe_dump(data, sort_keys=False))


@pytest.mark.parametrize("indent", [None, 2, "\t"])
def test_json_is_read_as_json(tmp_path: Path, indent: int | str | None) -> None:
    data = yaml.safe_load(GOOD) | {"title": "A slow bank \U0001f600 / does not slow the shop"}
    path = tmp_path / "experiment.json"
    path.write_text(json.dumps(data, indent=indent))
    assert load_experiment(str(path)).title == data["title"]
    copy_experiment(path, tmp_path / "copy.yaml")
    assert yaml.safe_load((tmp_path / "copy.yaml").read_text()) == data


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"title": 1,\n}', "expected JSON"),
        ('{"title": "\\ud83d"}', "half a character"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_json_that_is_none_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    assert complaint in refused(tmp_path, text, ".json")
