"""Fills the `.template` files of this folder."""

from pathlib import Path
from string import Template


class _Places(Template):
    """Places are `%{name}`, because the configurations use braces and dollar signs themselves."""

    delimiter = "%"


def filled(template: str, **values: object) -> str:
    """The text of the file `template` with a value in each of its places."""
    return _Places(Path(__file__).with_name(template).read_text()).substitute(values)
