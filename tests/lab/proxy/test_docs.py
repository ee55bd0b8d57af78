"""docs/proxy.md names every deviation, toxic, attribute, option and field of a record."""

import dataclasses
import re

import pytest

from lab.proxy.__main__ import parser
from lab.proxy.deviations import OURS, STRICT, Deviations
from lab.proxy.toxic_record import Record
from lab.proxy.toxics import REGISTRY
from tests.lab.proxy.rig import ROOT

TEXT = (ROOT / "docs" / "proxy.md").read_text()
TOXICS = {
    match[1]: match[0] for match in re.finditer(r"^\| `(\w+)` \|.*$", TEXT, flags=re.MULTILINE)
}


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Deviations)])
def test_a_deviation_is_documented_and_off_when_strict(field: str) -> None:
    assert f"| `{field}` |" in TEXT
    assert getattr(OURS, field)
    assert not getattr(STRICT, field)


@pytest.mark.parametrize("type_name", REGISTRY)
def test_a_toxic_and_its_attributes_are_documented(type_name: str) -> None:
    for field in dataclasses.fields(REGISTRY[type_name].attributes_type):
        assert f"`{field.name}`" in TOXICS[type_name]


def test_every_option_is_documented() -> None:
    options = {
        name
        for action in parser()._actions
        for name in action.option_strings
        if name.startswith("--") and name != "--help"
    }
    assert {name for name in options if f"`{name}`" not in TEXT} == set()


def test_every_field_of_a_record_is_documented() -> None:
    fields = {field.name for field in dataclasses.fields(Record)}
    assert {field for field in fields if f"`{field}`" not in TEXT} == set()
