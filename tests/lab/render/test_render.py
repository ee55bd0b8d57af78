"""`lab render`: the committed files are up to date; a difference is shown and written."""

import json
from pathlib import Path

import pytest

from lab import cli
from lab.render import RENDERERS, File, RenderError, render
from lab.topology import load


@pytest.mark.parametrize("name", RENDERERS)
def test_the_committed_files_are_up_to_date(name: str) -> None:
    files = render(load(), [name])
    assert files
    assert "\n".join(file.difference() for file in files).strip() == "", "run `lab render`"


def test_no_two_renderers_own_one_file() -> None:
    paths = [file.path for file in render(load())]
    assert len(paths) == len(set(paths))


def test_an_unknown_renderer_is_named_with_the_nearest() -> None:
    with pytest.raises(RenderError, match="did you mean 'nginx'"):
        render(load(), ["ngnix"])


def test_a_difference_is_shown_until_it_is_written(tmp_path: Path) -> None:
    file = File("sample", "deep/down.conf", "one\ntwo\n")
    assert "+two" in file.difference(tmp_path)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "down.conf").write_text("one\nthree\n")
    assert {"-three", "+two"} <= set(file.difference(tmp_path).splitlines())
    file.write(tmp_path)
    assert file.difference(tmp_path) == ""


def test_an_empty_file_that_is_missing_differs(tmp_path: Path) -> None:
    assert "missing" in File("sample", "empty", "").difference(tmp_path)


def test_check_lists_each_file_and_exits_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["render", "--check", "--json"]) == 0
    answers = json.loads(capsys.readouterr().out)
    assert {"renderer": "nginx", "path": "system/deploy/nginx.conf", "same": True} in answers


def test_check_exits_with_1_where_a_file_differs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = [File("sample", "system/deploy/nginx.conf", "something else\n")]
    monkeypatch.setattr("lab.render.render", lambda topology, names: other)
    assert cli.run(["render", "--check"]) == 1
    answers = capsys.readouterr().out
    assert "differs" in answers
    assert "-daemon off;" in answers


def test_an_unknown_name_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["render", "composed"]) == 2
    assert "no renderer 'composed'" in capsys.readouterr().err
