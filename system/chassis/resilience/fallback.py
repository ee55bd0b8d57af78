"""Fallback: a substitute for a failed call: a value, the result of a function, or a stale answer."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, ClassVar, cast

from .checks import at_least, positive
from .clock import SYSTEM_CLOCK, Clock
from .errors import CallError, label
from .events import Listener
from .policy import Attempt, Call, Switchable, T


class Fallback(Switchable):
    """Returns `value`, or the result of `function(call, error)`, which may be async.

    Only for errors in `on`. A function without a substitute raises; it can raise `error` again.
    Place it outermost, after all other policies have failed.
    """

    kind: ClassVar[str] = "fallback"

    def __init__(
        self,
        value: Any = None,
        *,
        function: Callable[[Call, Exception], Any] | None = None,
        on: tuple[type[Exception], ...] = (CallError,),
        clock: Clock = SYSTEM_CLOCK,
        listener: Listener | None = None,
    ) -> None:
        self.value = value
        self.function = function
        self.on = on
        self.clock = clock
        self.listener = listener
        self.used = 0

    async def run(self, attempt: Attempt[T], call: Call) -> T:
        try:
            return await attempt(call)
        except self.on as error:
            answer = await self._substitute(call, error)
            self.used += 1
            self._report(call.edge, "fallback", reason=label(error))
            return cast(T, answer)

    async def _substitute(self, call: Call, error: Exception) -> Any:
        if self.function is None:
            return self.value
        answer = self.function(call, error)
        return await answer if inspect.isawaitable(answer) else answer

    def _live(self) -> dict[str, object]:
        return {"used": self.used}


class StaleFallback(Fallback):
    """Returns the last good answer with the same `call.key`, at most `age_s_max` seconds old.

    Keeps the `entries_max` most recently used answers. Calls without a key are not handled: by the
    operation's name alone, a call could get another resource's answer. Without a good answer the
    original error is raised.
    """

    def __init__(
        self,
        *,
        age_s_max: float = 300.0,
        entries_max: int = 1000,
        on: tuple[type[Exception], ...] = (CallError,),
        clock: Clock = SYSTEM_CLOCK,
        listener: Listener | None = None,
    ) -> None:
        super().__init__(on=on, clock=clock, listener=listener)
        self.age_s_max = positive("age_s_max", age_s_max)
        self.entries_max = at_least("entries_max", entries_max, 1)
        self._good: OrderedDict[tuple[str, str], tuple[float, Any]] = OrderedDict()

    async def run(self, attempt: Attempt[T], call: Call) -> T:
        if not call.key:
            return await attempt(call)

        async def remember(call: Call) -> T:
            answer = await attempt(call)
            place = (call.operation, call.key)
            self._good[place] = (self.clock.monotonic(), answer)
            self._good.move_to_end(place)
            if len(self._good) > self.entries_max:
                self._good.popitem(last=False)
            return answer

        return await super().run(remember, call)

    async def _substitute(self, call: Call, error: Exception) -> Any:
        place = (call.operation, call.key)
        known = self._good.get(place)
        if known is None or self.clock.monotonic() - known[0] > self.age_s_max:
            raise error
        self._good.move_to_end(place)
        return known[1]

    def _live(self) -> dict[str, object]:
        return {"used": self.used, "entries": len(self._good)}
