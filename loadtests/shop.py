"""Shoppers for Locust's own page: each one browses, orders, tracks and cancels at its own pace.

    lab load --ui                                             (finds the running lab, keeps every request as a run)
    locust -f loadtests/shop.py --host http://127.0.0.1:8080

This is a closed loop: a shopper waits for each answer, so a slow shop gets fewer requests and looks better than it
is. For measurements use the open loop: `lab load steady`.
"""

from __future__ import annotations

import itertools
import logging
from pathlib import Path
from random import Random
from typing import Any

import gevent
from journeys import cancel, list_products, order, product, register, search, track
from locust import FastHttpUser, between, events, task

from lab.files import write_json
from lab.load.accounts import ACCOUNTS
from lab.load.own_page import refuse_other_pages
from lab.load.profiles import PAGE
from lab.load.request_log import RequestLog, now_s
from lab.load.shopper import NotLoggedInError, Shopper
from lab.load.shopper_task import ShopperTask
from lab.load.storefront import Storefront

log = logging.getLogger("breakwater.load")


@events.init_command_line_parser.add_listener
def add_options(parser: Any) -> None:
    options = parser.add_argument_group("Breakwater")
    options.add_argument(
        "--seed", type=int, default=1, help="same seed, same choices of each shopper (default 1)"
    )
    options.add_argument(
        "--run-dir", default="", help="the folder for requests.ndjson and history.ndjson"
    )


@events.init.add_listener
def protect_page(environment: Any, **_: Any) -> None:
    if environment.web_ui is not None:
        refuse_other_pages(environment.web_ui.app)


@events.init.add_listener
def open_log(environment: Any, **_: Any) -> None:
    options = environment.parsed_options
    run_dir = Path(options.run_dir) if options.run_dir else None
    environment.requests = RequestLog(run_dir)
    environment.account_numbers = itertools.cycle(range(1, ACCOUNTS))
    environment.shoppers = 0
    status = {"profile": PAGE, "seed": options.seed, "started_s": now_s()}

    def flush_each_second() -> None:
        while True:
            gevent.sleep(1)
            environment.requests.flush()

    def close(**_: Any) -> None:
        flusher.kill()
        environment.requests.close()
        if run_dir:
            sent = environment.requests.attempts
            counts = {"planned": sent, "sent": sent, "attempts": sent, "dropped": 0}
            counts |= {"shoppers": environment.shoppers, "rows": environment.requests.rows}
            write_json(run_dir / "load.json", status | counts | {"ended_s": now_s()})

    if run_dir:
        write_json(run_dir / "load.json", status)
    flusher = gevent.spawn(flush_each_second)
    environment.events.quit.add_listener(close)


class ShopUser(FastHttpUser):
    """One shopper with an own account. Many tasks look at products, few buy, as in a real shop."""

    wait_time = between(0.5, 2.0)
    network_timeout = 8.0
    connection_timeout = 8.0

    def on_start(self) -> None:
        number = next(self.environment.account_numbers)
        self.environment.shoppers += 1
        self.shopper = Shopper(number)
        self.rng = Random(f"{self.environment.parsed_options.seed}:{number}")
        self.store = Storefront(self.client, self.environment.requests)

    def go(self, journey: Any) -> None:
        try:
            journey(ShopperTask(self.store, self.shopper, self.rng, now_s()))
        except NotLoggedInError as error:
            log.warning("%s", error)

    @task(20)
    def look_at_list(self) -> None:
        self.go(list_products)

    @task(45)
    def look_at_product(self) -> None:
        self.go(product)

    @task(12)
    def search(self) -> None:
        self.go(search)

    @task(12)
    def order(self) -> None:
        self.go(order)

    @task(8)
    def track(self) -> None:
        self.go(track)

    @task(2)
    def cancel(self) -> None:
        self.go(cancel)

    @task(1)
    def register(self) -> None:
        self.go(register)
