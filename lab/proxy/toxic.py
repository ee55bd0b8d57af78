"""One toxic of one proxy: its attributes, seed, TTL and record."""

import hashlib
import time
from dataclasses import dataclass, field
from random import Random
from typing import Any

from chassis.fault_record import FaultRecord
from lab.proxy.api.json_fields import Fields
from lab.proxy.deviations import OURS, Deviations
from lab.proxy.errors import BadRequestBodyError, InvalidStreamError, InvalidToxicTypeError
from lab.proxy.toxic_record import Record, fault_record
from lab.proxy.toxics import REGISTRY
from lab.proxy.toxics import attributes as attribute_fields
from lab.proxy.toxics.stage import Stage

STREAMS = ("upstream", "downstream")  # the order in which toxics are listed
# `breakwater` is in our own answers, and clients send back whole answers
FIELDS = (
    "name", "type", "stream", "toxicity", "attributes", "ttl", "seed", "fault_id", "kind", "breakwater",
)  # fmt: skip
TTL_S_MAX = 7 * 24 * 3600


@dataclass(eq=False, slots=True)
class Toxic:
    """`stream` is `upstream` (client to server) or `downstream`; `toxicity` a probability."""

    name: str
    stage_type: type[Stage[Any]]
    stream: str
    toxicity: float
    attributes: Any
    seed: int
    ttl_s: float | None
    record: Record
    ignored: list[str] = field(default_factory=list)
    generation: int = 0  # number of updates: each one draws again
    first_number: int = 0  # the proxy's first connection that opened under this toxic

    def rng(self, key: str) -> Random:
        """Random draws for one connection: equal seed and connection order give equal decisions."""
        return Random(f"{self.seed}/{self.generation}/{key}")

    def view(self, deviations: Deviations) -> dict[str, Any]:
        shown = {
            "attributes": attribute_fields.show(self.attributes, deviations),
            "name": self.name,
            "type": self.stage_type.type_name,
            "stream": self.stream,
            "toxicity": self._share,
        }
        if deviations.extras:
            extra = {"seed": self.seed, "ttl": self.ttl_s, **self.record.view()}
            shown["breakwater"] = {**extra, "ignored_attributes": self.ignored}
        return shown

    def fault_record(self, edge: str) -> FaultRecord:
        return fault_record(
            edge,
            self.record.view(),
            attributes=attribute_fields.show(self.attributes, OURS),
            scope={"stream": self.stream, "share": self._share},
            seed=self.seed,
            ttl_s=self.ttl_s,
        )

    @property
    def _share(self) -> float:
        return int(self.toxicity) if self.toxicity.is_integer() else self.toxicity


@dataclass(frozen=True, slots=True)
class ToxicChange:
    """The checked content of a PATCH of a toxic."""

    attributes: Any
    toxicity: float
    ttl_s: float | None


def new_toxic(fields: Fields, proxy: str, server_seed: int, deviations: Deviations) -> Toxic:
    """Reads a POST body; raises BadRequestBodyError, InvalidStreamError or InvalidToxicTypeError."""
    _refuse_unknown(fields, deviations)
    type_name = fields.text("type")
    record = new_record(fields, type_name, proxy, deviations)
    stream = fields.text("stream", "downstream").lower()
    name = fields.text("name") or f"{type_name}_{stream}"
    toxicity = _toxicity(fields, 1.0, deviations)
    if stream not in STREAMS:
        raise InvalidStreamError()
    stage_type = REGISTRY.get(type_name)
    if stage_type is None or (stage_type.ours and not deviations.extras):
        raise InvalidToxicTypeError()
    given = fields.nested("attributes")
    default = stage_type.attributes_type()
    ttl_s = read_ttl_s(fields, deviations)
    seed = _derived_seed(server_seed, proxy, name)
    if deviations.extras:
        seed = fields.integer("seed", seed)
    return Toxic(
        name=name,
        stage_type=stage_type,
        stream=stream,
        toxicity=toxicity,
        attributes=attribute_fields.read(default, given, deviations),
        seed=seed,
        ttl_s=ttl_s,
        record=record,
        ignored=attribute_fields.unknown(default, given),
    )


def read_change(toxic: Toxic, fields: Fields, deviations: Deviations) -> ToxicChange:
    """Reads a PATCH body: only attributes, toxicity and ttl can change."""
    _refuse_unknown(fields, deviations)
    return ToxicChange(
        attributes=attribute_fields.read(toxic.attributes, fields.nested("attributes"), deviations),
        toxicity=_toxicity(fields, toxic.toxicity, deviations),
        ttl_s=read_ttl_s(fields, deviations),
    )


def new_record(fields: Fields, type_name: str, proxy: str, deviations: Deviations) -> Record:
    """A record of a fault commanded now; the body may set `fault_id` and `kind`, else both are derived."""
    now = time.time()
    record = Record(now, f"{type_name}-{proxy}-{now:.6f}", type_name)
    if deviations.extras:
        record.fault_id = fields.text("fault_id", record.fault_id)
        record.kind = fields.text("kind", record.kind)
    return record


def read_ttl_s(fields: Fields, deviations: Deviations) -> float | None:
    """`ttl` in seconds, None if absent; raises BadRequestBodyError unless 0 < ttl <= a week."""
    if not deviations.extras or "ttl" not in fields:
        return None
    ttl_s = fields.number("ttl", 0.0)
    if not 0 < ttl_s <= TTL_S_MAX:
        raise BadRequestBodyError(f"ttl must be above 0 and at most {TTL_S_MAX} seconds")
    return ttl_s


def _refuse_unknown(fields: Fields, deviations: Deviations) -> None:
    if deviations.unknown_fields_are_refused:
        fields.only(FIELDS)


def _toxicity(fields: Fields, default: float, deviations: Deviations) -> float:
    toxicity = fields.number("toxicity", default)
    if deviations.attributes_are_checked and not 0 <= toxicity <= 1:
        raise BadRequestBodyError("toxicity must be between 0 and 1")
    return toxicity


def _derived_seed(server_seed: int, proxy: str, name: str) -> int:
    digest = hashlib.blake2b(f"{server_seed}/{proxy}/{name}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big")
