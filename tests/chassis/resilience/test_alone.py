"""The folder can be lifted out: it needs the standard library and itself."""

import ast
import sys
from pathlib import Path

import chassis.resilience


def test_policies_import_only_the_standard_library_and_each_other() -> None:
    folder = Path(chassis.resilience.__file__).parent
    for file in folder.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                own = name.startswith("chassis.resilience")
                assert own or name.split(".")[0] in sys.stdlib_module_names, (file.name, name)


def test_everything_public_is_exported_and_explained() -> None:
    for name in chassis.resilience.__all__:
        thing = getattr(chassis.resilience, name)
        if isinstance(thing, type):
            assert thing.__doc__, name
