"""`lab logs` prints what a line contains, and finds lines by trace, time and pattern."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import cli
from lab.commands.logs import since_s
from lab.runtimes.supervisor.client import UsageError

PORT_BASE = "20280"
TRACE = "0af7651916cd43dd8448eb211c80319c"
Run = Callable[..., tuple[int, str]]


def line(ago_s: float, message: str, level: str = "info", **fields: object) -> str:
    head = {"time": time.time() - ago_s, "level": level, "service": "orders"}
    return json.dumps(head | {"instance": "orders-1", "arm": "", "message": message} | fields)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The logs of two services and a server."""
    monkeypatch.setenv("LAB_DIR", str(tmp_path))
    monkeypatch.setenv("LAB_PORT_BASE", PORT_BASE)
    folder = tmp_path / PORT_BASE / "logs"
    folder.mkdir(parents=True)
    (folder / "orders-1.jsonl").write_text(
        line(7200, "started", port=8130)
        + "\n"
        + line(30, "breaker", edge="orders->payments", state="open", trace_id=TRACE)
        + "\n"
        + line(5, "saga failed", "error", step="capture payment", exception="Traceback:\n  boom")
        + "\n"
    )
    (folder / "nginx.jsonl").write_text(
        line(29, "request", path="/api/orders", status=201, trace_id=TRACE) + "\n"
    )
    (folder / "postgres.log").write_text("database system is ready\n")
    return folder


@pytest.fixture
def logs(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*words: str) -> tuple[int, str]:
        """Exit code and all output."""
        code = cli.run(["logs", *words])
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return run


def test_a_line_shows_its_fields_and_its_traceback(logs: Run) -> None:
    code, printed = logs()
    assert code == 0
    assert "request path=/api/orders status=201" in printed
    assert "breaker edge=orders->payments state=open" in printed
    assert 'saga failed step="capture payment"\nTraceback:\n  boom' in printed
    assert "database system is ready" in printed
    assert "arm=" not in printed


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("--trace", TRACE), ["breaker", "request"]),
        (("--trace", TRACE[:8]), ["breaker", "request"]),
        (("orders", "--since", "1h"), ["breaker", "saga failed"]),
        (("orders", "--since", "10s"), ["saga failed"]),
        (("orders", "--grep", "state=(open|half)"), ["breaker"]),
        (("orders", "--level", "error"), ["saga failed"]),
        (("nginx", "--grep", "status=5"), []),
        (("orders", "--last", "1"), ["saga failed"]),
    ],
)
def test_lines_are_found_by_trace_time_pattern_and_level(
    logs: Run, words: tuple[str, ...], found: list[str]
) -> None:
    code, printed = logs(*words, "--json")
    messages = [json.loads(each)["message"] for each in printed.splitlines()]
    assert (code, messages) == (0, found)


def test_all_lines_of_a_trace_or_a_time_are_printed_not_only_the_last(
    logs: Run, folder: Path
) -> None:
    many = "".join(line(1, "call", number=n, trace_id=TRACE) + "\n" for n in range(80))
    (folder / "orders-1.jsonl").write_text(many)
    assert len(logs("orders")[1].splitlines()) == 50
    assert len(logs("orders", "--trace", TRACE)[1].splitlines()) == 80
    assert len(logs("orders", "--since", "1m")[1].splitlines()) == 80
    assert len(logs("orders", "--since", "1m", "--last", "3")[1].splitlines()) == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--since", "yesterday"), "expected 90s, 5m, 2h, 1d or a time like"),
        (("--grep", "("), "no regular expression"),
        (("--level", "wraning"), "did you mean 'warning'?"),
    ],
)
def test_a_filter_that_cannot_be_read_is_wrong_usage(
    logs: Run, words: tuple[str, ...], message: str
) -> None:
    code, printed = logs(*words)
    assert (code, message in printed) == (2, True), printed


def test_since_is_a_duration_or_a_time() -> None:
    assert since_s("1.5h", 10_000.0) == 4_600.0
    assert since_s("1970-01-01T00:00:20+00:00", 10_000.0) == 20.0
    with pytest.raises(UsageError):
        since_s("5 minutes", 0.0)
