"""Open-loop load: arrivals follow a seeded schedule, however slowly the shop answers.

    locust -f loadtests/open_loop.py --headless --host http://127.0.0.1:8080 \\
        --load-profile light --duration 30 --seed 7

`lab load` and `lab run` start this file too. SIGUSR1 ends the arrivals early; the answers are still awaited.
"""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event
from journeys import JOURNEYS
from locust import FastHttpUser, events, task

from lab.files import write_json
from lab.load.dispatcher import dispatch
from lab.load.profiles import ACTIONS, PROFILES, ProfileError, find_profile
from lab.load.request_log import Attempt, RequestLog, now_s
from lab.load.schedule import Arrival, make_schedule
from lab.load.shopper import NotLoggedInError, make_shoppers
from lab.load.shopper_task import ShopperTask, longest_s
from lab.load.storefront import Storefront

FLUSH_S = 0.2  # a guard reads the requests within its second
IN_FLIGHT_MAX = 600
LEAD_S = 0.2  # between the last log-in and the schedule's start
log = logging.getLogger("breakwater.load")


@events.init_command_line_parser.add_listener
def add_options(parser: Any) -> None:
    options = parser.add_argument_group("Breakwater")
    options.add_argument(
        "--load-profile", default="light", help="a table of the file of profiles (default light)"
    )
    options.add_argument("--load-profiles", default=str(PROFILES), help="the file of profiles")
    options.add_argument(
        "--duration", type=float, default=60.0, help="seconds of arrivals (default 60)"
    )
    options.add_argument("--seed", type=int, default=1, help="same seed, same arrivals (default 1)")
    options.add_argument(
        "--run-dir", default="", help="the folder for requests.ndjson and history.ndjson"
    )
    options.add_argument(
        "--timeout",
        type=float,
        default=0.0,
        help="seconds that a shopper waits for an answer (default: the profile's timeout_s)",
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
    """The only Locust user: it follows the schedule and starts a greenlet for every arrival."""

    fixed_count = 1
    concurrency = IN_FLIGHT_MAX + 50

    @task
    def run_schedule(self) -> None:
        options, profile = self.environment.parsed_options, self.environment.profile
        run_dir = Path(options.run_dir) if options.run_dir else None
        schedule = make_schedule(profile, options.seed, options.duration)
        requests = RequestLog(run_dir)
        store = Storefront(self.client, requests)
        shoppers = make_shoppers(profile.sessions, options.seed)
        stop = Event()
        gevent.signal_handler(signal.SIGUSR1, stop.set)
        flusher = gevent.spawn(every, FLUSH_S, requests.flush)
        status_writer: Any = None
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

            def task_for(arrival: Arrival, intended_s: float) -> ShopperTask:
                rng = schedule.choices(arrival)
                return ShopperTask(store, rng.choice(shoppers), rng, intended_s, shoppers)

            def record_unsent(
                arrival: Arrival, intended_s: float, error: str, dropped: bool = False
            ) -> None:
                session = task_for(arrival, intended_s).shopper.name
                route, logical_id = ACTIONS[arrival.action], requests.new_logical_id()
                method = route.partition(" ")[0]
                attempt = Attempt(session, route, method, logical_id, intended_s)
                requests.record(replace(attempt, error=error, dropped=dropped))

            def send(arrival: Arrival, intended_s: float) -> None:
                arrivals["sent"] += 1
                try:
                    JOURNEYS[arrival.action](task_for(arrival, intended_s))
                except NotLoggedInError as error:
                    record_unsent(arrival, intended_s, str(error))

            def drop(arrival: Arrival, intended_s: float) -> None:
                arrivals["dropped"] += 1
                error = "dropped: too many requests in flight"
                record_unsent(arrival, intended_s, error, dropped=True)

            start_s = now_s() + LEAD_S
            if run_dir:
                path, begun = run_dir / "load.json", {**status, "started_s": start_s}
                write_json(path, begun)
                # the arrivals so far; the request log has a request only after its answer
                status_writer = gevent.spawn(every, 1.0, lambda: write_json(path, begun | arrivals))
            dispatched = dispatch(
                schedule,
                start_s,
                send,
                drop,
                stop,
                in_flight_max=IN_FLIGHT_MAX,
                drain_s=longest_s(self.network_timeout) + 1,
            )
            status |= {**asdict(dispatched), "attempts": requests.attempts, "rows": requests.rows}
        except NotLoggedInError as error:
            status["error"] = str(error)
            log.error("%s; check that the lab is up and that --host is its address", error)
            self.environment.process_exit_code = 1
        finally:
            gevent.killall([each for each in (flusher, status_writer) if each])
            requests.close()
            if run_dir:
                write_json(run_dir / "load.json", status)
            self.environment.runner.quit()


def every(interval_s: float, do: Callable[[], None]) -> None:
    while True:
        gevent.sleep(interval_s)
        do()
