"""bad_release: the instances of one version fail a share of their requests after doing the work."""

from dataclasses import dataclass
from random import Random
from typing import Any

from chassis.faults.fault import Fault, FaultAbortedError, FaultError, Proceed


@dataclass(frozen=True)
class BadRelease(Fault):
    """Armed on a whole service; its scope selects the release by `version` or `arm`."""

    kind = "bad_release"
    doc = "on instances of scope.version (or arm), error_share of the requests end with `status`"
    points = ("inbound",)
    needs_any = ("version", "arm")
    error_share: float
    status: int = 500

    def __post_init__(self) -> None:
        if not 0 < self.error_share <= 1:
            raise FaultError("bad_release.error_share: expected above 0 and up to 1")
        if not 400 <= self.status <= 599:
            raise FaultError(f"bad_release.status: expected 400 to 599, got {self.status}")

    async def run(self, proceed: Proceed, rng: Random) -> Any:
        if rng.random() >= self.error_share:
            return await proceed()
        await proceed(discard=True)
        raise FaultAbortedError(int(self.status))
