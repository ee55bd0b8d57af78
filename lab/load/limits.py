"""A limit on what shoppers measure: of an experiment's verdict, or of a load profile."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StrictFloat, StrictStr, model_validator

from lab.load.percentiles import PATTERN
from lab.strict_table import Expected, StrictTable, invalid

Number = Annotated[StrictFloat, Field(ge=0, allow_inf_nan=False), Expected("a number of 0 or more")]
Name = Annotated[StrictStr, Field(min_length=1), Expected("a name")]
Route = Annotated[StrictStr, Expected("a method and a path, e.g. POST /api/orders")]
Measure = Annotated[
    StrictStr,
    Field(pattern=rf"^({PATTERN}|error_ratio|goodput_per_s)$"),
    Expected("p95_ms (p01 to p99, or p999 for 99.9%), error_ratio or goodput_per_s"),
]


class LoadLimit(StrictTable):
    """A maximum, for goodput_per_s a minimum; in ms, as a share, or per second. Without a route: all routes."""

    name: Name = ""
    route: Route = ""
    measure: Measure
    limit: Number

    @model_validator(mode="after")
    def _can_be_decided(self) -> LoadLimit:
        """No number of requests shows that there is no error at all, or that a time is 0."""
        if self.measure == "error_ratio" and self.limit == 0:
            raise invalid(
                "a limit of 0 can be broken, but never kept: 0 errors in n requests only show a ratio"
                " below about 3/n (299 requests: 1%, 2,995: 0.1%); write for example 0.01",
                "limit",
            )
        if self.measure == "error_ratio" and self.limit >= 1:
            raise invalid("a limit of 1 (all requests) can never be broken; write a share", "limit")
        if self.limit == 0:
            raise invalid("a limit of 0 can never be decided; expected a number above 0", "limit")
        if self.measure.strip("p0") == "_ms":
            raise invalid("there is no percentile 0; expected for example p50_ms", "measure")
        return self
