"""The plan of a run: the extension `breakwater` of an experiment file, which Chaos Toolkit ignores."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    Tag,
    ValidationError,
)

from lab.chaos.experiment.protection import AnyProtection, check_figure
from lab.chaos.experiment.provider_calls import check_call
from lab.chaos.experiment.yaml_lines import Document
from lab.load.limits import LoadLimit, Measure, Name, Number, Route
from lab.load.percentiles import PATTERN
from lab.strict_table import Expected, StrictTable, first_error

EXTENSION = "breakwater"


def known_invariant(number: int) -> int:
    """The number, if an invariant has it. Raises ValueError."""
    from lab.analysis.consistency import INVARIANTS  # slow to import: duckdb, pandas

    if number not in INVARIANTS:
        raise ValueError(number)
    return number


Margin = Annotated[StrictFloat, Field(gt=0, allow_inf_nan=False), Expected("a number above 0")]
Sentence = Annotated[StrictStr, Field(min_length=1), Expected("a sentence")]
Edge = Annotated[StrictStr, Field(pattern=r"^[^>]+->[^>]+$"), Expected('"caller->callee"')]
Invariant = Annotated[
    StrictInt, AfterValidator(known_invariant), Expected("the number of an invariant")
]
Reason = Annotated[StrictStr, Field(min_length=1), Expected("a reason")]
GuardMeasure = Annotated[
    StrictStr,
    Field(pattern=rf"^({PATTERN}|error_ratio)$"),
    Expected("error_ratio or p95_ms (p01 to p99, or p999 for 99.9%)"),
]
Window = Annotated[
    Literal["before", "during", "after", "all"], Expected("one of before, during, after, all")
]


class Phases(StrictTable):
    """Seconds. `method_s` and `recovery_s` are upper bounds for the method: the load covers them."""

    warmup_s: Number
    before_s: Number
    method_s: Number
    recovery_s: Number
    after_s: Number

    @property
    def total_s(self) -> float:
        return self.warmup_s + self.before_s + self.method_s + self.recovery_s + self.after_s


class Sli(LoadLimit):
    """One limit of the verdict, in a window; `lab.analysis.verdict.slis` measures it."""

    window: Window = "during"


class RequestLimit(StrictTable):
    """A guard's limit on the load's own requests over the last `for_s` seconds."""

    name: Name
    route: Route = ""
    measure: GuardMeasure
    limit: Number
    for_s: Number


class ProbeLimit(StrictTable):
    """A guard's limit on a probe: the probe is outside its tolerance, or fails, for `for_s` seconds."""

    name: Name
    provider: dict[str, Any]
    tolerance: Any
    for_s: Number


class BreakerExpectation(StrictTable):
    """Seconds after the fault until the breaker opens, and until it closes."""

    edge: Edge
    opens_within_s: Number | None = None
    closes_within_s: Number | None = None


class Unchanged(StrictTable):
    """Measures of a route that differ by less than a factor of 1 + margin before and during the fault."""

    route: Route = ""
    measures: tuple[Measure, ...] = ()
    margin: Margin = 0.1


class Expects(StrictTable):
    """What the verdict checks besides the SLIs."""

    breaker: BreakerExpectation | None = None
    unchanged: Unchanged | None = None


def _kind_of_limit(row: Any) -> str:
    return "<probe>" if isinstance(row, dict) and "provider" in row else "<request>"


Limit = Annotated[
    Annotated[RequestLimit, Tag("<request>")] | Annotated[ProbeLimit, Tag("<probe>")],
    Discriminator(_kind_of_limit),
]


class ExperimentPlan(StrictTable):
    """Load, phases, limits and expectations of a run. docs/experiments.md explains each key."""

    name: Literal["breakwater"]
    claim: Sentence
    load: Annotated[StrictStr, Expected("a load profile's name")] = "light"
    phases: Phases
    recovery_from: Name | None = None
    slis: tuple[Sli, ...] = ()
    not_asked: dict[Invariant, Reason] = Field(default_factory=dict)
    expects: Expects = Expects()
    proxied: Annotated[StrictBool, Expected("true or false")] = False
    guard: tuple[Limit, ...] = ()
    protection: AnyProtection | None = None

    @property
    def load_s(self) -> float:
        """Seconds of load that cover everything, hypothesis probes and a slow machine included."""
        return 1.5 * self.phases.total_s + 30


def read_plan(document: Document) -> ExperimentPlan:
    """The plan in the experiment's extension. Raises MalformedFileError."""
    for index, extension in enumerate(document.data.get("extensions") or []):
        if isinstance(extension, dict) and extension.get("name") == EXTENSION:
            return _checked(document, index, extension)
    raise document.error(
        f"has no extension `- name: {EXTENSION}`; `lab run` needs it for load, phases and SLIs"
        " (docs/experiments.md); `chaos run` runs the file without it",
        "extensions",
    )


def _checked(document: Document, index: int, extension: dict[str, Any]) -> ExperimentPlan:
    top = ("extensions", index)
    try:
        plan = ExperimentPlan.model_validate(extension)
    except ValidationError as error:
        where, text = first_error(error)
        path = ".".join(str(step) for step in (EXTENSION, *where))
        raise document.error(f"{path}: {text}", *top, *where) from None
    method = document.data.get("method") or []
    names = [activity.get("name") for activity in method if isinstance(activity, dict)]
    if plan.recovery_from not in (None, *names):
        raise document.error(
            f"{EXTENSION}.recovery_from: {plan.recovery_from!r} is no activity of the method;"
            f" expected one of {', '.join(map(repr, names))}",
            *(*top, "recovery_from"),
        )
    if plan.protection is not None:
        figures = [sli.name for sli in plan.slis]
        check_figure(document, (*top, "protection"), plan.protection, figures)
    for row, limit in enumerate(plan.guard):
        if isinstance(limit, ProbeLimit):
            check_call(document, (*top, "guard", row, "provider"), limit.provider)
    return plan
