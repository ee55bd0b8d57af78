"""A YAML or JSON file with the line number of each part, for error messages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from lab.strict_table import Where


class MalformedFileError(Exception):
    """The file is not valid; the text is `file:line: problem; what is expected`."""

    def __init__(self, path: Path, line: int, complaint: str) -> None:
        super().__init__(f"{path}:{line}: {complaint}")


class Document:
    """`data`: the file's content. `at("method", 0, "name")`: the line of a part, else of the part around it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            text = path.read_text()
        except OSError as error:
            raise MalformedFileError(path, 1, f"cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise MalformedFileError(path, 1, "is not text; expected YAML in UTF-8") from None
        if path.suffix == ".json":
            self.data: Any = self._from_json(text)
            # for the lines only: no text in JSON has a raw tab, and YAML allows none between the values
            text = text.replace("\t", " ")
        try:
            node = yaml.compose(text, yaml.SafeLoader)
            if path.suffix != ".json":
                self.data = yaml.safe_load(text)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = mark.line + 1 if mark else 1
            problem = getattr(error, "problem", None) or "is not valid YAML"
            raise MalformedFileError(path, line, f"{problem}; expected YAML") from None
        self._lines: dict[Where, int] = {}
        try:
            if node is not None:
                self._note(node, ())
        except RecursionError:
            raise MalformedFileError(path, 1, "contains itself by an anchor (&, *)") from None

    def _from_json(self, text: str) -> Any:
        try:
            data = json.loads(text)
            json.dumps(data, ensure_ascii=False).encode()
        except json.JSONDecodeError as error:
            raise MalformedFileError(
                self.path, error.lineno, f"{error.msg}; expected JSON"
            ) from None
        except RecursionError:
            raise MalformedFileError(self.path, 1, "is nested too deeply") from None
        except UnicodeEncodeError:
            complaint = "a text has half a character (a lone surrogate such as \\ud83d)"
            raise MalformedFileError(self.path, 1, complaint) from None
        return data

    def at(self, *where: str | int) -> int:
        while where and where not in self._lines:
            where = where[:-1]
        return self._lines.get(where, 1)

    def line_of(self, text: str) -> int | None:
        """The line of the first value that equals `text`."""
        for where, line in self._lines.items():
            if where and self._value(where) == text:
                return line
        return None

    def error(self, complaint: str, *where: str | int) -> MalformedFileError:
        return MalformedFileError(self.path, self.at(*where), complaint)

    def _value(self, where: Where) -> Any:
        value = self.data
        for step in where:
            value = value[step]
        return value

    def _note(self, node: yaml.Node, where: Where) -> None:
        self._lines.setdefault(where, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                inner = (*where, key.value)
                self._lines[inner] = key.start_mark.line + 1
                self._note(value, inner)
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                self._note(value, (*where, index))
