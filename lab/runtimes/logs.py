"""Reads the lab's log files: the last lines of several files, merged by time, and new lines."""

import json
import re
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LEVELS = ("debug", "info", "warning", "error", "critical")
POLL_S = 0.1
EXPLANATION_CHARS = 2500
ERROR = re.compile(r"\b(ERROR|FATAL|PANIC|Traceback)\b|\[(ERR|FTL|error|crit|alert|emerg)\]")
WARNING = re.compile(r"\bWARNING\b|\[(WRN|warn)\]")
# Shown before the content of a line, or the same on each line.
HEAD = ("time", "level", "service", "instance", "arm", "message", "exception")


@dataclass(frozen=True)
class LogLine:
    """One line; `fields` is {} if the line is not JSON."""

    instance: str
    time_s: float
    level: str
    message: str
    fields: dict[str, Any]

    @property
    def content(self) -> str:
        """The message, and the fields beside it as `name=value`; a traceback follows on lines of its own."""
        exception = self.fields.get("exception")
        own = {name: value for name, value in self.fields.items() if name not in HEAD}
        words = [self.message, *(f"{name}={_word(value)}" for name, value in own.items())]
        return " ".join(filter(None, words)) + (f"\n{exception}" if exception else "")


@dataclass(frozen=True)
class LogFilter:
    """The lines of `level` or above, since `since_s` (epoch), of one trace, with a match of `pattern`.

    `trace`: a trace id or its beginning. A server's own level, which is not in LEVELS, is shown at each level.
    """

    level: str = LEVELS[0]
    since_s: float = 0.0
    trace: str = ""
    pattern: re.Pattern[str] | None = None

    def accepts(self, line: LogLine) -> bool:
        return (
            (line.level not in LEVELS or LEVELS.index(line.level) >= LEVELS.index(self.level))
            and line.time_s >= self.since_s
            and str(line.fields.get("trace_id", "")).startswith(self.trace)
            and (self.pattern is None or self.pattern.search(line.content) is not None)
        )


ALL = LogFilter()


class LogFile:
    """One instance's file. A line without a time gets the time of the line before."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.instance = path.stem
        self._offset = 0
        self._time_s = path.stat().st_mtime if path.exists() else 0.0

    def new_lines(self) -> Iterator[LogLine]:
        """The complete lines since the last call."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                for line in file:
                    if not line.endswith(b"\n"):
                        break  # incomplete
                    self._offset += len(line)
                    if line.strip():
                        yield self._parse(line.decode(errors="replace").rstrip())
        except FileNotFoundError:
            return

    def _parse(self, text: str) -> LogLine:
        try:
            fields = json.loads(text)
            self._time_s = float(fields["time"])
            level = str(fields.get("level", "info"))
            return LogLine(
                self.instance, self._time_s, level, str(fields.get("message", "")), fields
            )
        except (ValueError, KeyError, TypeError):
            level = "error" if ERROR.search(text) else "info"
            level = "warning" if level == "info" and WARNING.search(text) else level
            return LogLine(self.instance, self._time_s, level, text, {})


def explain(path: Path) -> str:
    """The probable reason why a process ended: the errors in its log, else its last lines."""
    lines = deque(LogFile(path).new_lines(), maxlen=200)
    errors = [line for line in lines if line.level in ("error", "critical") and line.fields]
    shown = errors[:2] or list(lines)[-25:]
    text = "\n".join(line.message for line in shown)
    return text[-EXPLANATION_CHARS:].strip() or "(nothing)"


def files(folder: Path, target: str = "") -> list[Path]:
    """The log files of an instance, of all instances of a service, or of everything."""
    found = sorted([*folder.glob("*.jsonl"), *folder.glob("*.log")])
    if not target:
        return found
    of_service = re.compile(re.escape(target) + r"-\d+")
    return [path for path in found if path.stem == target or of_service.fullmatch(path.stem)]


def read(
    folder: Path,
    target: str = "",
    *,
    only: LogFilter = ALL,
    last: int | None = 50,
    follow: bool = False,
) -> Iterator[LogLine]:
    """The `last` accepted lines of each file (None: all), by time; with `follow`, new lines for ever."""
    known = {path: LogFile(path) for path in files(folder, target)}
    lines = [
        line
        for file in known.values()
        for line in deque(filter(only.accepts, file.new_lines()), maxlen=last)
    ]
    yield from sorted(lines, key=lambda line: line.time_s)
    while follow:
        time.sleep(POLL_S)
        for path in files(folder, target):
            known.setdefault(path, LogFile(path))
        new = [line for file in known.values() for line in filter(only.accepts, file.new_lines())]
        yield from sorted(new, key=lambda line: line.time_s)


def _word(value: Any) -> str:
    """A field's value as one word: text without spaces as it is, all else as JSON."""
    if isinstance(value, str) and value and not re.search(r"[\s\"=]", value):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
