"""Plot of a run's phases, its faults, the numbered steps of its method, and the machine."""

from __future__ import annotations

from matplotlib.figure import Figure

from lab.analysis import activities
from lab.analysis.plots.machine import draw_machine
from lab.analysis.plots.style import (
    BLUE,
    GRID,
    INK,
    ORANGE,
    RED,
    SECONDS,
    canvas,
    show_text,
    styled,
)
from lab.analysis.windows import fault_bands, load_span
from lab.archive import Run

MACHINE_INCHES = 1.2


@styled
def timeline(run: Run) -> Figure:
    """The phases, faults and steps of the run over time, and the machine below them."""
    phases, bands, steps = activities.phases(run), fault_bands(run), activities.activities(run)
    height = 1.9 + 0.22 * max(0, len(bands) - 1)
    figure, (panel, machine) = canvas(
        2, (height + MACHINE_INCHES) / 2, sharex=True, height_ratios=[height, MACHINE_INCHES]
    )
    start, end = load_span(run)
    if not phases and not bands:
        show_text(panel, "the run has no phases and no faults")
        draw_machine(machine, run, start)
        return figure
    for number, phase in enumerate(phases):
        left = phase.start_s - start
        panel.barh(0, phase.duration_s, left=left, height=0.7, color=BLUE,
                   alpha=0.14 if number % 2 else 0.26)  # fmt: skip
        if phase.duration_s > 0.05 * (end - start):
            panel.text(left + phase.duration_s / 2, 0, phase.name, ha="center", va="center",
                       fontsize=9)  # fmt: skip
    for row, band in enumerate(bands, start=1):
        panel.barh(row, max(band.duration_s, 0.15), left=band.start_s - start, height=0.7,
                   color=ORANGE, alpha=0.75)  # fmt: skip
        panel.annotate(f"{band.duration_s:.1f} s", (band.end_s - start, row), xytext=(4, 0),
                       textcoords="offset points", va="center", fontsize=8.5)  # fmt: skip
    last = len(bands) + 1
    taken = -1e9
    for step in steps:
        colour = RED if step.status not in ("succeeded", "None") else INK
        panel.plot([step.at_s, step.at_s + step.took_s], [last, last], color=colour, linewidth=3,
                   solid_capstyle="butt", alpha=0.5)  # fmt: skip
        # Move the numbers of steps in quick succession apart.
        taken = max(step.at_s, taken + 0.016 * (end - start))
        panel.annotate(str(step.number), (taken, last), xytext=(0, -5), textcoords="offset points",
                       va="top", ha="center", fontsize=9, color=colour, weight="bold")  # fmt: skip
    labels = ["phase", *(band.name for band in bands), *(["step"] if steps else [])]
    panel.set_yticks(range(len(labels)), labels)
    panel.set_ylim(len(labels) - (0.2 if steps else 0.5), -0.6)
    panel.grid(axis="y", visible=False)
    panel.set_xlim(min(0.0, *(phase.start_s - start for phase in phases), 0.0),
                   max(end, *(phase.end_s for phase in phases), end) - start)  # fmt: skip
    panel.axvline(0, color=GRID)
    draw_machine(machine, run, start)
    machine.set_xlabel(SECONDS)
    panel.set_title("Phases, faults and steps")
    return figure
