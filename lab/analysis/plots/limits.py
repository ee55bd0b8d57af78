"""Plot of SLIs against their limits."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from lab.analysis.plots.style import GREEN, INK, MUTED, RED, canvas, show_text, styled
from lab.analysis.verdict.slis import SliResult


@styled
def sli_chart(slis: Sequence[SliResult]) -> Figure:
    """Each SLI with its interval, as a share of its limit."""
    figure, (panel,) = canvas(1, 1.0 + 0.42 * max(len(slis), 1))
    if not slis:
        show_text(panel, "the experiment has no SLI")
        return figure
    right = 2.0
    for row, sli in enumerate(slis):
        if sli.value is None or sli.limit == 0:
            panel.annotate(sli.note or "limit 0", (0.03, row), va="center", color=MUTED, fontsize=9)
            continue
        colour = GREEN if sli.ok else RED
        low, value, high = (
            _share(each, sli.limit, right) for each in (sli.low, sli.value, sli.high)
        )
        panel.plot([low if sli.low is not None else value, high if sli.high is not None else right],
                   [row, row], color=colour, linewidth=3.5, alpha=0.35, solid_capstyle="butt")  # fmt: skip
        marker = ">" if sli.value > right * sli.limit else "o"
        panel.scatter(value, row, s=55, color=colour, zorder=3, marker=marker, clip_on=False)
    panel.axvline(1.0, color=INK, linewidth=1.2)
    panel.annotate("limit", (1.0, 1.0), xycoords=("data", "axes fraction"), xytext=(3, -2),
                   textcoords="offset points", va="top", fontsize=8.5, color=MUTED)  # fmt: skip
    panel.set_yticks(range(len(slis)), [sli.name for sli in slis])
    panel.set_ylim(len(slis) - 0.4, -0.9)
    panel.set_xlim(-0.02, right)
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f}%"))
    panel.set_xlabel("value as a share of its limit, with its 95% interval")
    missed = sum(not sli.ok for sli in slis)
    panel.set_title(f"Limits kept:  {len(slis) - missed} of {len(slis)}")
    return figure


def _share(value: float | None, limit: float, right: float) -> float:
    return right if value is None else min(value / limit, right)
