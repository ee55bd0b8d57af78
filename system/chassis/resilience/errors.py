"""The errors of a protected call. Each has a field for whether the work may have happened."""

from __future__ import annotations


class CallError(Exception):
    """A call did not return an answer.

    definite       True: the work certainly did not happen. False: it may have happened.
    retryable      True: the same call may succeed later.
    retry_after_s  seconds to wait, requested by the other side or the policy; None: no request.
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
    """The error's name in events, metrics and spans: the class name, without `Error` for a CallError."""
    name = type(error).__name__
    return name.removesuffix("Error") if isinstance(error, CallError) else name


class CallFailedError(CallError):
    """The other side answered with an error, refused the connection or closed it. Clients raise it."""

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


class OverloadedError(CallFailedError):
    """The other side is alive and refused the work before it began: wait, then try again.

    It is no sign that the dependency is broken, so breakers do not count it. Definite.
    """


class TimedOutError(CallError):
    """One attempt took longer than its timeout. The work may have happened."""

    retryable = True


class DeadlineExceededError(CallError):
    """The deadline of the request passed. Definite only if the attempt was never started."""


class RejectedError(CallError):
    """A policy rejected the call before it started. A rejected call is not a failed one."""

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
    """The breaker is open, or half-open with all its trial calls in flight."""

    policy = "breaker"


class BulkheadFullError(RejectedError):
    """No permit is free, and the queue is full or the wait was too long."""

    policy = "bulkhead"


class RateLimitedError(RejectedError):
    """The rate limiter has no token for this call."""

    policy = "rate_limiter"


class LimitReachedError(RejectedError):
    """The adaptive concurrency limit is reached."""

    policy = "adaptive_limit"


class ThrottledError(RejectedError):
    """The client-side throttle dropped this call at random."""

    policy = "throttle"


class ShedError(RejectedError):
    """The server is overloaded and sheds this priority class."""

    policy = "shed"
