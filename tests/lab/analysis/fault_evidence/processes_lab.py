"""A process in simulated time, as the recorder and its callers see it: scrapes, probes, spans, all with noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lab.analysis.fault_evidence.silence import RECORDER, Signs
from lab.analysis.fault_evidence.windows import Windows
from tests.lab.analysis.fault_evidence.noise import durations

BEFORE_S, AFTER_S = 24.0, 15.0
TIMEOUT_S = 0.9
SLOWER = 1.2  # the machine, during the fault


@dataclass(frozen=True)
class Life:
    """`looks`: (time of the answer or time-out, answered); `starts`: (time, start time of the process)."""

    signs: Signs
    windows: Windows
    looks: list[tuple[float, bool]]
    starts: list[tuple[float, float]]
    refusals: list[tuple[float, bool]]


def life(
    rng: np.random.Generator,
    lasts_s: float,
    *,
    target: str = "orders-1",
    gone: tuple[tuple[float, float], ...] = (),
    spans_per_s: float = 5.0,
    every_s: float = 1.0,
    refuses: bool = False,
    new_starts: bool = False,
) -> Life:
    """The process gives no sign in the parts `gone` of the fault's time, which begins at BEFORE_S."""
    absent = [(BEFORE_S + a, BEFORE_S + b) for a, b in gone]
    end_s = BEFORE_S + lasts_s + AFTER_S
    asked = np.arange(rng.uniform(0, every_s), end_s, every_s)
    delay = durations(rng, len(asked), 0.02, drift=SLOWER - 1)
    looks, starts, refusals = [], [], []
    for at, wait in zip(asked, delay, strict=True):
        answers_at = next((b + wait for a, b in absent if a <= at < b), at + wait)
        answered = answers_at <= at + TIMEOUT_S
        refused = refuses and any(a <= at < b for a, b in absent)
        answered = answered and not refused
        seen = at + wait if refused else min(answers_at, at + TIMEOUT_S)
        looks.append((float(seen), answered))
        refusals.append((float(seen), refused))
        if answered:
            ended = [b for _, b in absent if b <= seen]
            starts.append((float(seen), ended[-1] if ended and new_starts else 1.0))
    spans = rng.uniform(0, end_s, rng.poisson(spans_per_s * end_s))
    own = [float(at) for at in spans if not any(a <= at < b for a, b in absent)]
    own += [at for at, answered in looks if answered]
    others = sorted(float(at) for at in np.arange(0.0, end_s, 0.5))
    if target == RECORDER:
        own = others = [at for at in others if not any(a <= at < b for a, b in absent)]
    windows = Windows(((0.0, BEFORE_S),), (BEFORE_S, BEFORE_S + lasts_s))
    return Life(Signs(target, sorted(own), others), windows, looks, starts, refusals)
