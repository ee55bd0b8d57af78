"""The report as a PNG for a README: a screenshot, or a plot if no browser is installed."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import matplotlib as mpl

from lab.analysis import plots
from lab.analysis.plots.style import RC
from lab.archive import Run
from lab.files import write_atomic
from lab.report.page import write_report
from lab.report.words import headline

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
WIDTH, HEIGHT = 1000, 1165  # the verdict, the key figures and the overview
BROWSER_S = 60.0


def find_browser() -> str | None:
    """The path of an installed Chromium or Chrome, or None."""
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


def write_picture(run_dir: Path | str, png: Path) -> str:
    """Write the top of the run's report as a PNG and return how it was made.

    A headless browser takes a screenshot. If none is installed, matplotlib draws the overview.
    """
    report = write_report(run_dir)
    png.parent.mkdir(parents=True, exist_ok=True)
    browser = find_browser()
    if browser is not None and screenshot(browser, report, png):
        return f"screenshot by {Path(browser).name}"
    draw(Run(run_dir), png)
    return "drawn without a browser: install chromium for a screenshot of the page"


def screenshot(browser: str, page: Path, png: Path) -> bool:
    """Take a screenshot of the page. Returns whether it succeeded. The browser loads only that file."""
    with tempfile.TemporaryDirectory() as profile:
        half = Path(profile) / "picture.png"
        command = [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
            "--disable-quic", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", f"--user-data-dir={profile}/profile",
            "--force-device-scale-factor=1.5", f"--window-size={WIDTH},{HEIGHT}",
            f"--screenshot={half}", page.resolve().as_uri(),
        ]  # fmt: skip
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=BROWSER_S)
        except (OSError, subprocess.SubprocessError):
            return False
        if not half.is_file():
            return False
        write_atomic(png, half.read_bytes())
    return True


def draw(run: Run, png: Path) -> None:
    """Draw the overview of the run with the headline of its verdict."""
    figure = plots.overview(run)
    with mpl.rc_context(RC):
        figure.suptitle(
            headline(run.verdict, run.is_load) if run.verdict else "",
            x=0.01,
            ha="left",
            weight="bold",
        )
        figure.savefig(png, dpi=150, facecolor="white")
