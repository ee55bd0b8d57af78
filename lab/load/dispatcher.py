"""Follows an arrival schedule inside Locust: each errand starts when it is due, never when it suits."""

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
    """What became of the schedule up to where it was followed: planned = sent + dropped."""

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
    """Send every arrival at its time until the schedule or `stop` ends it, then wait for answers.

    `send` and `drop` get the arrival and its intended start (epoch seconds). With `in_flight_max`
    errands under way a due one is dropped, not delayed: a delay would hide the shop's slowness.
    """
    told = Dispatched(started_s=start_s)
    under_way = Group()
    for arrival in schedule.arrivals:
        intended_s = start_s + arrival.at_s
        early_s = intended_s - now_s()
        if early_s > 0:
            stop.wait(early_s)
        else:
            gevent.sleep(0)  # late: still let those that are due now start
        if stop.is_set():
            break
        told.planned += 1
        if len(under_way) >= in_flight_max:
            told.dropped += 1
            drop(arrival, intended_s)
        else:
            told.sent += 1
            under_way.spawn(send, arrival, intended_s)
    else:
        stop.wait(max(0.0, start_s + schedule.duration_s - now_s()))
    told.ended_s = now_s()
    under_way.join(timeout=drain_s)
    under_way.kill()
    return told
