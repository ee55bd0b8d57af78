"""The files in docs/adding_a_service.md use only names that exist."""

import ast
import importlib
import re

import pytest

from lab.topology import PROJECT

GUIDE = (PROJECT / "docs" / "adding_a_service.md").read_text()
FILES = dict(re.findall(r"```python\n# (\S+\.py)\n(.*?)```", GUIDE, re.DOTALL))


def test_the_guide_has_every_file_of_a_service() -> None:
    folder = "system/shop/reviews/"
    names = {path.removeprefix(folder) for path in FILES if path.startswith(folder)}
    assert names >= {"__init__.py", "domain.py", "store.py", "clients.py", "app.py"}


@pytest.mark.parametrize("path", FILES)
def test_the_imports_of_the_guide_exist(path: str) -> None:
    for node in ast.walk(ast.parse(FILES[path])):
        if isinstance(node, ast.ImportFrom) and not str(node.module).startswith("shop.reviews"):
            module = importlib.import_module(str(node.module))
            missing = [each.name for each in node.names if not hasattr(module, each.name)]
            assert not missing, f"{node.module} has no {missing}"
