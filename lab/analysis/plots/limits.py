"""Plot of SLIs against their limits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from lab.analysis.plots.style import GREEN, INK, MUTED, ORANGE, RED, canvas, show_text, styled
from lab.analysis.verdict.answers import Answer
from lab.analysis.verdict.slis import SliResult

RIGHT = 2.0  # the right edge, as a share of the limit
# Each answer has a colour, a marker and a line of its own: the plot can be read without colour.
LOOKS: dict[str, dict[str, str]] = {
    Answer.KEPT: {"color": GREEN, "marker": "o", "linestyle": "-"},
    Answer.BROKEN: {"color": RED, "marker": "X", "linestyle": "-"},
    Answer.UNDECIDED: {"color": ORANGE, "marker": "D", "linestyle": ":"},
}


@styled
def sli_chart(slis: Sequence[SliResult]) -> Figure:
    """Each SLI with its interval, as a share of its limit."""
    figure, (panel,) = canvas(1, 1.0 + 0.42 * max(len(slis), 1))
    if not slis:
        show_text(panel, "the experiment has no SLI")
        return figure
    for row, sli in enumerate(slis):
        if sli.value is None or sli.limit == 0:
            panel.annotate(sli.note or "limit 0", (0.03, row), va="center", color=MUTED, fontsize=9)
            continue
        look = LOOKS[sli.answer]
        low, high = (
            open_end if end is None else min(end / sli.limit, RIGHT)
            for end, open_end in ((sli.low, 0.0), (sli.high, RIGHT))
        )
        if sli.answer == Answer.UNDECIDED or None not in (sli.low, sli.high):
            panel.plot([low, high], [row, row], color=look["color"], linestyle=look["linestyle"],
                       linewidth=3.5, alpha=0.45, solid_capstyle="butt")  # fmt: skip
        panel.scatter(min(sli.value / sli.limit, RIGHT), row, s=60, color=look["color"],
                      marker=look["marker"], zorder=3, clip_on=False)  # fmt: skip
    panel.axvline(1.0, color=INK, linewidth=1.2)
    panel.annotate("limit", (1.0, 1.0), xycoords=("data", "axes fraction"), xytext=(3, -2),
                   textcoords="offset points", va="top", fontsize=8.5, color=MUTED)  # fmt: skip
    panel.set_yticks(range(len(slis)), [f"{sli.name}: {sli.answer}" for sli in slis])
    panel.set_ylim(len(slis) - 0.4, -0.9)
    panel.set_xlim(-0.02, RIGHT)
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f}%"))
    panel.set_xlabel(
        "value as a share of its limit, with its interval; dotted: unknown or undecided"
    )
    counts = Counter(sli.answer for sli in slis)
    panel.set_title(
        "Limits:  " + ", ".join(f"{counts[answer]} {answer}" for answer in Answer), pad=10
    )
    return figure
