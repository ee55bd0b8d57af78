"""Dispatches the arrivals of a schedule inside Locust: each starts when it is due, however slow the shop is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import gevent
from gevent.event import Event
from gevent.pool import Group

from lab.load.request_log import now_s
from lab.load.schedule import Arrival, Schedule


@dataclass
class Dispatched:
    """The arrivals that were due until the end: planned = sent + dropped."""

    started_s: float
    ended_s: float = 0.0
    planned: int = 0
    sent: int = 0
    dropped: int = 0


def dispatch(
    schedule: Schedule,
    start_s: float,
    send: Callable[[Arrival, float], None],
    drop: Callable[[Arrival, float], None],
    stop: Event,
    *,
    in_flight_max: int,
    drain_s: float,
) -> Dispatched:
    """Sends every arrival at its time until the schedule or `stop` ends it, then waits for the answers.

    `send` and `drop` get the arrival and its intended start (epoch seconds). While `in_flight_max`
    tasks run, a due arrival is dropped, not delayed: a delay would hide the shop's slowness.
    """
    dispatched = Dispatched(started_s=start_s)
    running = Group()
    for arrival in schedule.arrivals:
        intended_s = start_s + arrival.at_s
        early_s = intended_s - now_s()
        if early_s > 0:
            stop.wait(early_s)
        else:
            gevent.sleep(0)  # late: other due tasks must still be able to start
        if stop.is_set():
            break
        dispatched.planned += 1
        if len(running) >= in_flight_max:
            dispatched.dropped += 1
            drop(arrival, intended_s)
        else:
            dispatched.sent += 1
            running.spawn(send, arrival, intended_s)
    else:
        stop.wait(max(0.0, start_s + schedule.duration_s - now_s()))
    dispatched.ended_s = now_s()
    running.join(timeout=drain_s)
    running.kill()
    return dispatched
