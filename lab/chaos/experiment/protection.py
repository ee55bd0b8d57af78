"""The protection that an experiment is about: how to switch it off, and which figure of a customer then breaks."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import Discriminator, Field, StrictFloat, StrictStr, Tag, model_validator

from lab.chaos.experiment.yaml_lines import Document
from lab.nearest import nearest
from lab.strict_table import Expected, StrictTable, Where, invalid

INVARIANT = re.compile(r"invariant ([1-9]\d*)")
Sentence = Annotated[StrictStr, Field(min_length=1), Expected("a sentence")]
Setting = Annotated[
    StrictStr,
    Field(pattern=r"^([a-z]+(-\d+)?\.)?[A-Z][A-Z0-9_]*=.+$"),
    Expected("NAME=value, as `lab up --set` takes it"),
]


class Without(StrictTable):
    """How a lab is started without the protection: options of `lab up`."""

    set: tuple[Setting, ...] = ()
    restart_delay_s: Annotated[StrictFloat, Field(gt=0), Expected("a number above 0")] | None = None

    @model_validator(mode="after")
    def _changes_something(self) -> Without:
        if not self.options:
            raise invalid("expected set or restart_delay_s: what is switched off")
        return self

    @property
    def options(self) -> tuple[str, ...]:
        """The options of `lab up`."""
        delay = self.restart_delay_s
        options = [word for setting in self.set for word in ("--set", setting)]
        return (*options, *(() if delay is None else ("--restart-delay-s", f"{delay:g}")))


class Protection(StrictTable):
    """`breaks`: an SLI, a probe or `invariant N` that holds with the protection, and breaks without it."""

    what: Sentence
    without: Without
    breaks: Sentence


class NoProtection(StrictTable):
    """An experiment whose protection has no switch: why, and the figure that it shows instead."""

    no_switch: Sentence
    shows: Sentence

    @property
    def breaks(self) -> str:
        return self.shows


def _kind(row: Any) -> str:
    return "<none>" if isinstance(row, dict) and "no_switch" in row else "<protection>"


AnyProtection = Annotated[
    Annotated[Protection, Tag("<protection>")] | Annotated[NoProtection, Tag("<none>")],
    Discriminator(_kind),
]


def check_figure(
    document: Document, where: Where, protection: Protection | NoProtection, slis: list[str]
) -> None:
    """Checks that the named figure is an SLI, a probe or an invariant. Raises MalformedFileError."""
    hypothesis = document.data.get("steady-state-hypothesis") or {}
    activities = [*(hypothesis.get("probes") or ()), *(document.data.get("method") or ())]
    figures = [*slis, *(str(each["name"]) for each in activities if each.get("type") == "probe")]
    name = protection.breaks
    if name not in figures and not INVARIANT.fullmatch(name):
        complaint = f"protection: {name!r} is no SLI, no probe and no `invariant N`"
        raise document.error(complaint + nearest(name, figures), *where)
