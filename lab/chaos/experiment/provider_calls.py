"""Checks that each function an experiment file calls exists and takes the given arguments."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

from lab.chaos.experiment.yaml_lines import Document
from lab.nearest import did_you_mean
from lab.strict_table import Where

INJECTED = ("configuration", "secrets")  # Chaos Toolkit passes these


def check_call(document: Document, where: Where, provider: dict[str, Any]) -> None:
    """Checks a provider of type python. Raises MalformedFileError."""
    module, func = str(provider.get("module", "")), str(provider.get("func", ""))
    try:
        imported = importlib.import_module(module)
    except (ImportError, ValueError):
        raise document.error(f"there is no Python module {module!r}", *where, "module") from None
    function = getattr(imported, func, None)
    if not callable(function):
        names = [
            name
            for name, thing in inspect.getmembers(imported, inspect.isfunction)
            if thing.__module__ == module and not name.startswith("_")
        ]
        hint = did_you_mean(func, names)
        complaint = f"{module} has no {func!r}.{hint} Expected one of {', '.join(names)}"
        raise document.error(complaint, *where, "func")
    arguments = provider.get("arguments") or {}
    if not isinstance(arguments, dict):
        raise document.error("expected arguments by name", *where, "arguments")
    signature = inspect.signature(function)
    injected = {name: None for name in INJECTED if name in signature.parameters}
    try:
        signature.bind(**arguments, **injected)
    except TypeError as error:
        takes = [name for name in signature.parameters if name not in INJECTED]
        complaint = f"{func}: {error}; it takes {', '.join(takes) or 'no arguments'}"
        raise document.error(complaint, *where, "arguments") from None
