"""How a protected call can fail; every error says whether the work may have happened."""

from __future__ import annotations


class CallError(Exception):
    """A call did not deliver an answer.

    definite       True: the work did certainly not happen. False: nobody here knows.
    retryable      True: the same call may succeed later.
    retry_after_s  seconds the other side (or the policy) asks to wait; None: nothing asked.
    """

    definite: bool = False
    retryable: bool = False
    retry_after_s: float | None = None

    def __init__(
        self,
        message: str = "",
        *,
        definite: bool | None = None,
        retryable: bool | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        if definite is not None:
            self.definite = definite
        if retryable is not None:
            self.retryable = retryable
        if retry_after_s is not None:
            self.retry_after_s = retry_after_s


def label(error: BaseException) -> str:
    """The error's name in events, metrics and spans: its class name, ours without `Error`."""
    name = type(error).__name__
    return name.removesuffix("Error") if isinstance(error, CallError) else name


class CallFailedError(CallError):
    """The other side answered with an error, refused, or hung up; the caller's client raises it."""

    def __init__(
        self,
        message: str = "",
        *,
        status: int | None = None,
        definite: bool | None = None,
        retryable: bool | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(
            message, definite=definite, retryable=retryable, retry_after_s=retry_after_s
        )
        self.status = status


class TimedOutError(CallError):
    """One attempt took longer than it was given; the work may have happened."""

    retryable = True


class DeadlineExceededError(CallError):
    """The whole request ran out of time; definite only if the attempt was never started."""


class RejectedError(CallError):
    """A policy turned the call away before it started: rejected is not failed."""

    definite = True
    policy = ""

    def __init__(
        self,
        message: str = "",
        *,
        reason: str = "",
        retryable: bool | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message or reason, retryable=retryable, retry_after_s=retry_after_s)
        self.reason = reason


class BreakerOpenError(RejectedError):
    """The breaker is open, or half-open with all its probes out."""

    policy = "breaker"


class BulkheadFullError(RejectedError):
    """No permit free and no room, or no more patience, in the queue."""

    policy = "bulkhead"


class RateLimitedError(RejectedError):
    """The rate limiter has no token for this call."""

    policy = "rate_limiter"


class LimitReachedError(RejectedError):
    """The adaptive concurrency limit is used up."""

    policy = "adaptive_limit"


class ThrottledError(RejectedError):
    """The client-side throttle drew this call to be dropped."""

    policy = "throttle"


class ShedError(RejectedError):
    """The server is overloaded and this priority class goes first."""

    policy = "shed"
