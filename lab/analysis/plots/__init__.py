"""The plots of the report and the notebooks. The title gives the result, each axis has a unit."""

from lab.analysis.plots.breakers import breaker_timeline, breaker_window, predicted_and_measured
from lab.analysis.plots.limits import sli_chart
from lab.analysis.plots.orders import orders_over_time, settling_times
from lab.analysis.plots.overview import overview
from lab.analysis.plots.scraped import compare_breakers, compare_red, saturation
from lab.analysis.plots.shoppers import (
    answers_over_time,
    latency_over_time,
    load_delivered,
    main_routes,
    naive_and_intended,
    spectrum,
)
from lab.analysis.plots.style import svg, use_style
from lab.analysis.plots.timeline import timeline
from lab.analysis.plots.traces import mean_time_by_hop, time_by_hop, time_over_time, waterfall

__all__ = [
    "answers_over_time",
    "breaker_timeline",
    "breaker_window",
    "compare_breakers",
    "compare_red",
    "latency_over_time",
    "load_delivered",
    "main_routes",
    "mean_time_by_hop",
    "naive_and_intended",
    "orders_over_time",
    "overview",
    "predicted_and_measured",
    "saturation",
    "settling_times",
    "sli_chart",
    "spectrum",
    "svg",
    "time_by_hop",
    "time_over_time",
    "timeline",
    "use_style",
    "waterfall",
]
