"""Lane of the machine: the CPU of the lab and of others, run queue and clock steps by second."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from lab.analysis.machine import seconds, summary
from lab.analysis.plots.style import GRID, INK, MUTED, PINK, RED, SKY, show_text
from lab.archive import Run

STEAL_SHOWN = 0.01
STEP_SHOWN_S = 0.01
QUEUE_SHOWN_MIN = 8.0  # a short queue is drawn low


def draw_machine(axes: Axes, run: Run, start_s: float) -> None:
    """On an axis of seconds since `start_s`. A label is shown only for what happened."""
    rows = seconds(run)
    if rows.empty:
        show_text(axes, "the machine was not sampled")
        return
    at_s = rows["time_s"] - start_s
    axes.set_axisbelow(True)
    others, steal = rows["others"].clip(lower=0.0), rows["cpu_steal"].fillna(0.0)
    axes.plot(at_s, rows["cpu_lab"], color=SKY, linewidth=1.0, drawstyle="steps-pre", label="lab")
    axes.fill_between(at_s, others, step="pre", color=RED, alpha=0.75, linewidth=0, label="others")
    if steal.max() > STEAL_SHOWN:
        axes.fill_between(at_s, others, others + steal, step="pre", color=PINK, alpha=0.75,
                          linewidth=0, label="steal")  # fmt: skip
    for number, (at, step) in enumerate(zip(at_s, rows["clock_step_s"], strict=True)):
        if abs(step) > STEP_SHOWN_S:
            axes.axvline(at, color=INK, linewidth=1.0, linestyle=":")
            axes.annotate(f"clock {step:+.2f} s", (at, 1.0), xytext=(3, -3 - 9 * (number % 3)),
                          textcoords="offset points", va="top", fontsize=8.5)  # fmt: skip
    axes.set_ylim(0.0, 1.02)
    axes.set_yticks([0.0, 0.5, 1.0])
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    queue = axes.twinx()
    queue.plot(at_s, rows["runnable"], color=MUTED, linewidth=0.8, alpha=0.6,
               drawstyle="steps-pre", label="queue")  # fmt: skip
    queue.set_ylim(0.0, max(QUEUE_SHOWN_MIN, 1.1 * rows["runnable"].fillna(0.0).max()))
    queue.yaxis.set_major_locator(MaxNLocator(2, integer=True))
    queue.grid(visible=False)
    queue.spines["right"].set(visible=True, color=GRID)
    handles = [each.get_legend_handles_labels() for each in (axes, queue)]
    axes.legend(handles[0][0] + handles[1][0], handles[0][1] + handles[1][1], ncols=4,
                loc="lower right", bbox_to_anchor=(1.0, 0.97), borderaxespad=0.1, fontsize=8,
                handlelength=0.8, handletextpad=0.4, columnspacing=0.8)  # fmt: skip
    axes.set_title(f"CPU: {summary(run)}")
