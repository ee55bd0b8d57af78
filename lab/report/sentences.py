"""Sentences of the report that explain its figures."""

from __future__ import annotations

from typing import Any

import numpy as np

from lab.analysis import orders
from lab.analysis.latency import response_times
from lab.archive import Run
from lab.load.percentiles import quantile
from lab.report.words import figure

ROSE = 1.5  # a smaller rise needs no explanation


def within_limits(run: Run, verdict: dict[str, Any]) -> list[str]:
    """For each kept limit on response times whose p95 rose during the fault: what the claim requires instead."""
    found = []
    for sli in verdict["sli"]:
        q = quantile(sli["measure"])
        if q is None or sli["window"] != "during" or sli["answer"] != "kept" or not sli["value"]:
            continue
        times = [response_times(run, sli["route"], over) for over in ("before", "during")]
        if not all(len(each) for each in times):
            continue
        before, during = (1000 * float(np.quantile(each, 0.95)) for each in times)
        if during < ROSE * before:
            continue
        found.append(
            f"The p95 of {sli['route'] or 'all requests'} rose from {figure(before, 'ms')} to"
            f" {figure(during, 'ms')} during the fault. The claim requires that {100 * q:g}% are answered"
            f" within {figure(sli['limit'], 'ms')}: they were, within {figure(sli['value'], 'ms')}."
        )
    return found


def about_orders(run: Run) -> str:
    """Who placed the orders, why some were cancelled, and how long pending ones were followed."""
    counted = orders.totals(run)
    others = orders.placed_by_others(run)
    found = []
    if others:
        found.append(
            f"Of {counted['placed']:,} orders, {counted['placed'] - others:,} were placed by the shoppers of"
            f" the load and {others:,} by others, such as the probes of the experiment."
        )
    if why := _cancellations(run):
        found.append(f"{counted['cancelled']:,} were cancelled: {why}.")
    if at_most_s := (run.info.get("quiescence") or {}).get("at_most_s"):
        found.append(
            "After the load, pending orders were followed until all were settled, for at most"
            f" {at_most_s:g} s."
        )
    return " ".join(found)


def _cancellations(run: Run) -> str:
    """E.g. `12 payment declined, 5 by the customer`; "" if no order was cancelled."""
    words = {"customer": "by the customer", "unavailable": "not paid in time"}
    return ", ".join(
        f"{count:,} {words.get(reason, reason.replace('_', ' '))}"
        for reason, count in orders.cancelled_by_reason(run).items()
    )
