"""The style of all plots: colours, axes, legends, fault bands, SVG."""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec

import matplotlib as mpl
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from lab.analysis.windows import Band

P = ParamSpec("P")

# Okabe and Ito (2008): distinguishable with all common kinds of colour vision.
BLUE, SKY, GREEN, ORANGE, RED, PINK = (
    "#0072B2",
    "#56B4E9",
    "#009E73",
    "#E69F00",
    "#D55E00",
    "#CC79A7",
)
SECONDS = "seconds since the load began"
INK, MUTED, GRID = "#24292f", "#656d76", "#d0d7de"

STATES = {"closed": "#9CC9E4", "half_open": ORANGE, "open": RED}
OUTCOMES = {"ok": "#9CC9E4", "unknown": ORANGE, "fail": RED, "dropped": PINK}
ORDER_COLOURS = {"placed": INK, "confirmed": GREEN, "cancelled": ORANGE, "pending": BLUE}

RC: Any = {
    **{"font.family": "sans-serif", "font.size": 10, "svg.fonttype": "none"},
    **{"font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"]},
    **{"text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": GRID},
    **{"xtick.color": MUTED, "ytick.color": MUTED, "xtick.labelcolor": INK},
    **{"ytick.labelcolor": INK, "axes.titlelocation": "left", "axes.titlesize": 10.5},
    **{"axes.titleweight": "bold", "axes.titlepad": 8, "axes.spines.top": False},
    **{"axes.spines.right": False, "axes.grid": True, "grid.color": GRID, "grid.linewidth": 0.6},
    **{"axes.axisbelow": True, "legend.frameon": False, "legend.fontsize": 9},
    **{"figure.constrained_layout.use": True, "figure.dpi": 96, "figure.facecolor": "white"},
    **{"axes.facecolor": "none", "lines.linewidth": 1.6},
    "axes.prop_cycle": cycler(color=[BLUE, ORANGE, GREEN, RED, SKY, PINK]),
}


def styled(plot: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw a plot in the project's style, independent of the caller's matplotlib settings."""

    @functools.wraps(plot)
    def draw(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with mpl.rc_context():
            mpl.rcdefaults()  # a matplotlibrc of the user may need LaTeX or other fonts
            mpl.rcParams.update(RC)
            return plot(*args, **kwargs)

    return draw


def use_style() -> None:
    """Use the project's style for all plots of this process."""
    mpl.rcParams.update(RC)


def canvas(
    rows: int = 1, height: float = 2.6, width: float = 9.2, **subplots: Any
) -> tuple[Figure, list[Axes]]:
    """A figure with `rows` axes, one above the other, each `height` inches high."""
    figure = Figure(figsize=(width, rows * height))
    axes = figure.subplots(rows, 1, squeeze=False, **subplots)
    return figure, [row[0] for row in axes]


def legend(figure: Figure, axes: Axes, columns: int = 6) -> None:
    """Put the legend of `axes` above the figure, where it covers no data."""
    figure.legend(
        *axes.get_legend_handles_labels(), loc="outside upper right", ncols=columns,
        borderaxespad=0.2, handlelength=1.4, columnspacing=1.4,
    )  # fmt: skip


def log_axis(axes: Axes) -> None:
    """Make the y axis logarithmic, with plain numbers as labels."""
    axes.set_yscale("log")
    axes.margins(y=0.12)
    axes.yaxis.set_major_locator(LogLocator(numticks=7))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis="y", which="minor", length=0)


def shade(axes: Axes, bands: Sequence[Band], start_s: float, *, label: str = "top") -> None:
    """Draw fault windows as shaded bands, on an axis of seconds since `start_s`.

    `label`: the position of their names, `top`, `bottom` or none ("").
    """
    for band in bands:
        left, right = band.start_s - start_s, band.end_s - start_s
        axes.axvspan(left, right, color=ORANGE, alpha=0.16, linewidth=0, zorder=0)
        axes.axvline(left, color=ORANGE, linewidth=1.0, zorder=1)
        axes.axvline(right, color=ORANGE, linewidth=1.0, zorder=1)
    if label and bands:
        # Overlapping bands (one fault on two instances) share one label.
        left = min(band.start_s for band in bands) - start_s
        names = list(dict.fromkeys(band.name for band in bands))
        text = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
        height, below = (1.0, -3) if label == "top" else (0.0, 3)
        axes.annotate(
            text, (left, height), xycoords=("data", "axes fraction"), xytext=(4, below),
            textcoords="offset points", va=label, ha="left", fontsize=8.5, color=MUTED,
        )  # fmt: skip


def mark_load_end(axes: Axes, at_s: float) -> None:
    """A dotted line where the load ends."""
    axes.axvline(at_s, color=MUTED, linewidth=1.0, linestyle=":", zorder=1)
    axes.annotate(
        "load ends", (at_s, 1.0), xycoords=("data", "axes fraction"), xytext=(-4, -3),
        textcoords="offset points", va="top", ha="right", fontsize=8.5, color=MUTED,
    )  # fmt: skip


def show_text(axes: Axes, text: str) -> None:
    """Show the reason why a plot is empty."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=MUTED)
    axes.set_xticks([])
    axes.set_yticks([])


def svg(figure: Figure, name: str) -> str:
    """The figure as inline SVG that uses the colours of the page, light or dark.

    `name` is the prefix of its ids, so that ids of several figures on one page differ.
    """
    text = io.StringIO()
    with mpl.rc_context({**RC, "svg.hashsalt": name}):
        figure.savefig(text, format="svg", metadata={"Date": None}, dpi=144, facecolor="none")
    drawn = text.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    # Ids are unique only within a figure. Without a prefix, figures would use each other's clip paths.
    drawn = re.sub(r'id="([^"]+)"', rf'id="{name}-\1"', drawn)
    drawn = re.sub(r'(xlink:href="#|url\(#)', rf"\1{name}-", drawn)
    drawn = re.sub(r"<metadata>.*?</metadata>", "", drawn, flags=re.DOTALL)
    for colour, role in ((INK, "ink"), (MUTED, "muted"), (GRID, "grid"), (BLUE.lower(), "line")):
        drawn = drawn.replace(colour, f"var(--{role}, {colour})")
    return re.sub(
        r'(<svg[^>]*?) width="[^"]+"', rf'\1 role="img" aria-label="{name}"', drawn, count=1
    )
