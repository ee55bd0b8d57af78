"""Intervals of quantiles and shares, and the decisions that rest on them (docs/intervals.md)."""

from lab.analysis.intervals.binomial import CONFIDENCE, Values, binomial_cdf
from lab.analysis.intervals.decisions import (
    Equivalence,
    equivalent,
    holm,
    placed,
    ratio_interval,
    requests_needed,
)
from lab.analysis.intervals.estimates import Interval, quantile_interval, share_interval
from lab.analysis.intervals.pooled import mean_interval, pooled_share

__all__ = [
    "CONFIDENCE",
    "Equivalence",
    "Interval",
    "Values",
    "binomial_cdf",
    "equivalent",
    "holm",
    "mean_interval",
    "placed",
    "pooled_share",
    "quantile_interval",
    "ratio_interval",
    "requests_needed",
    "share_interval",
]
