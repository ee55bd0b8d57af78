"""Open-loop load: arrivals dispatch a seeded schedule, however slow the shop answers.

    locust -f loadtests/open_loop.py --headless --host http://127.0.0.1:8080 \\
        --load-profile light --duration 30 --seed 7

`lab load` and `lab run` start it like this too. SIGUSR1 ends the arrivals early and waits for the answers.
"""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event
from journeys import JOURNEYS
from locust import FastHttpUser, events, task

from lab.files import write_json
from lab.load.dispatcher import dispatch
from lab.load.profiles import ACTIONS, ProfileError, find_profile
from lab.load.request_log import RequestLog, now_s
from lab.load.schedule import Arrival, make_schedule
from lab.load.shopper import NotLoggedInError, make_shoppers
from lab.load.shopper_task import ShopperTask, longest_s
from lab.load.storefront import Storefront

FLUSH_S = 0.2  # a guard reads the requests as they are answered
IN_FLIGHT_MAX = 600
LEAD_S = 0.2  # between the last log-in and the schedule's start
PROFILES = Path(__file__).with_name("profiles.toml")
log = logging.getLogger("breakwater.load")


@events.init_command_line_parser.add_listener
def add_options(parser: Any) -> None:
    options = parser.add_argument_group("Breakwater")
    options.add_argument(
        "--load-profile", default="light", help="a table of loadtests/profiles.toml"
    )
    options.add_argument("--load-profiles", default=str(PROFILES), help="another file of profiles")
    options.add_argument("--duration", type=float, default=60.0, help="seconds of arrivals")
    options.add_argument("--seed", type=int, default=1, help="same seed, same arrivals and choices")
    options.add_argument("--run-dir", default="", help="requests.ndjson and history.ndjson go here")
    options.add_argument(
        "--timeout", type=float, default=0.0, help="overrides the profile's timeout_s"
    )


@events.init.add_listener
def check_options(environment: Any, **_: Any) -> None:
    options = environment.parsed_options
    try:
        environment.profile = find_profile(options.load_profile, Path(options.load_profiles))
    except ProfileError as error:
        sys.exit(f"{error}")
    OpenLoop.network_timeout = options.timeout or environment.profile.timeout_s
    OpenLoop.connection_timeout = OpenLoop.network_timeout


class OpenLoop(FastHttpUser):
    """The one Locust user: it walks the schedule and starts a greenlet for every arrival."""

    fixed_count = 1
    concurrency = IN_FLIGHT_MAX + 50

    @task
    def run_schedule(self) -> None:
        options, profile = self.environment.parsed_options, self.environment.profile
        run_dir = Path(options.run_dir) if options.run_dir else None
        schedule = make_schedule(profile, options.seed, options.duration)
        record = RequestLog(run_dir)
        store = Storefront(self.client, record)
        shoppers = make_shoppers(profile.sessions, options.seed)
        stop = Event()
        gevent.signal_handler(signal.SIGUSR1, stop.set)
        flusher = gevent.spawn(every, FLUSH_S, record.flush)
        teller: Any = None
        arrivals = {"sent": 0, "dropped": 0}
        status = {
            "profile": profile.name,
            "seed": options.seed,
            "schedule_hash": schedule.hash,
            "shoppers": len(shoppers),
        }
        try:
            for shopper in shoppers:
                if not stop.is_set():
                    shopper.token(store)

            def errand(arrival: Arrival, intended_s: float) -> ShopperTask:
                rng = schedule.choices(arrival)
                return ShopperTask(store, rng.choice(shoppers), rng, intended_s)

            def unsent(arrival: Arrival, intended_s: float, error: str, dropped: bool) -> None:
                record.unsent(
                    session=errand(arrival, intended_s).shopper.name,
                    route=ACTIONS[arrival.action],
                    intended_start_s=intended_s,
                    error=error,
                    dropped=dropped,
                )

            def send(arrival: Arrival, intended_s: float) -> None:
                arrivals["sent"] += 1
                try:
                    JOURNEYS[arrival.action](errand(arrival, intended_s))
                except NotLoggedInError as error:
                    unsent(arrival, intended_s, str(error), dropped=False)

            def drop(arrival: Arrival, intended_s: float) -> None:
                arrivals["dropped"] += 1
                unsent(arrival, intended_s, "dropped: too many requests in flight", dropped=True)

            start_s = now_s() + LEAD_S
            if run_dir:
                path, begun = run_dir / "load.json", {**status, "started_s": start_s}
                write_json(path, begun)
                # how many came by now, for whoever watches: requests are written when answered
                teller = gevent.spawn(every, 1.0, lambda: write_json(path, begun | arrivals))
            told = dispatch(
                schedule,
                start_s,
                send,
                drop,
                stop,
                in_flight_max=IN_FLIGHT_MAX,
                drain_s=longest_s(self.network_timeout) + 1,
            )
            status |= {**asdict(told), "attempts": record.attempts}
        except NotLoggedInError as error:
            status["error"] = str(error)
            log.error("%s: is the lab up, and is this its address?", error)
            self.environment.process_exit_code = 1
        finally:
            gevent.killall([each for each in (flusher, teller) if each])
            record.close()
            if run_dir:
                write_json(run_dir / "load.json", status)
            self.environment.runner.quit()


def every(interval_s: float, do: Callable[[], None]) -> None:
    while True:
        gevent.sleep(interval_s)
        do()
