"""The report in a real browser: on a phone nothing is out of view, in the dark nothing vanishes."""

from pathlib import Path

import pytest

from lab.report import picture, write_report
from tests.lab.analysis.archives import write_archive
from tests.lab.report.browser import opened

PHONE = 390
BROWSER = picture.find_browser()
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
CELLS = "[...document.querySelectorAll('td')].filter(cell => cell.offsetWidth)"
TEXTS = "[...document.querySelectorAll('svg text')]"
TICKS = 'svg[aria-label=breakers] path[style*="--ink"][style*="stroke-opacity"]'


async def test_on_a_phone_each_cell_is_in_view_and_charts_can_be_read(tmp_path: Path) -> None:
    assert BROWSER is not None
    report = write_report(write_archive(tmp_path / "run"))
    async with opened(BROWSER, report, tmp_path / "profile") as page:
        await page.show(PHONE)
        assert await page.evaluate("innerWidth") == PHONE
        out_of_view = f"{CELLS}.filter(c => c.getBoundingClientRect().right > innerWidth).length"
        assert await page.evaluate(out_of_view) == 0
        assert await page.evaluate("document.querySelectorAll('[data-th=interval]').length") == 4
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth") is True
        smallest = f"Math.min(...{TEXTS}.map(text => text.getBoundingClientRect().height))"
        assert await page.evaluate(smallest) >= 8


async def test_in_the_dark_rejected_calls_have_the_colour_of_text(tmp_path: Path) -> None:
    assert BROWSER is not None
    report = write_report(write_archive(tmp_path / "run"))
    async with opened(BROWSER, report, tmp_path / "profile") as page:
        for dark in (False, True):
            await page.show(1000, dark=dark)
            strokes = await page.evaluate(
                f"[...document.querySelectorAll('{TICKS}')].map(tick => getComputedStyle(tick).stroke)"
            )
            text = await page.evaluate("getComputedStyle(document.body).color")
            assert set(strokes) == {text}
