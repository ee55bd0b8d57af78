"""The user's own settings of other programs do not reach the lab's programs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure

from lab.analysis.plots.style import styled
from lab.run.children import environment
from lab.run.children.child_process import ChildProcess

SHOW = (
    "import json, os; print(json.dumps([dict(os.environ), os.path.expanduser('~/.locust.conf')]))"
)


def test_foreign_settings_are_removed_and_loopback_is_never_behind_a_proxy() -> None:
    found = {
        "PGSSLMODE": "require",
        "LOCUST_HOST": "http://x",
        "PATH": "/bin",
        "no_proxy": "a.example",
    }
    environment.clean(found)
    assert set(found) == {"PATH", "no_proxy", "NO_PROXY"}
    assert found["no_proxy"] == "a.example,127.0.0.1,localhost,::1"
    again = dict(found)
    environment.clean(again)
    assert again == found


def test_a_child_of_a_run_has_another_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "own"
    (own / ".kube").mkdir(parents=True)
    (own / ".kube/config").write_text("")
    for name, value in {"HOME": str(own), "LOCUST_USERS": "7", "PGHOST": "elsewhere"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    child = ChildProcess([sys.executable, "-c", SHOW], tmp_path / "child.log")
    assert child.wait(30)
    seen: Any
    seen, conf = json.loads((tmp_path / "child.log").read_text())
    assert {"LOCUST_USERS", "PGHOST"}.isdisjoint(seen)
    assert not conf.startswith(str(own))
    assert seen["KUBECONFIG"] == str(own / ".kube/config")
    assert not (tmp_path / "home").exists()


def test_plots_do_not_use_the_users_matplotlibrc() -> None:
    @styled
    def plot() -> Figure:
        assert not mpl.rcParams["text.usetex"]
        assert mpl.rcParams["lines.markersize"] == mpl.rcParamsDefault["lines.markersize"]
        return Figure()

    with mpl.rc_context({"text.usetex": True, "lines.markersize": 77}):
        plot()
        assert mpl.rcParams["text.usetex"], "the user's own settings stay"
