"""Endings of error messages about an unknown name: the most similar known name, or all known names."""

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'orders'?`, or `; expected one of: a, b` where no known name is similar."""
    names = sorted(known)
    if found := closest(name, names):
        return f"; did you mean {found!r}?"
    return f"; expected one of: {', '.join(names) or 'none'}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` Did you mean orders?`, or "" where no known name is similar."""
    found = closest(name, known)
    return f" Did you mean {found}?" if found else ""


def closest(name: str, known: Iterable[str]) -> str:
    """The most similar known name, or "" where none is similar."""
    found = difflib.get_close_matches(name, list(known), n=1)
    return found[0] if found else ""
