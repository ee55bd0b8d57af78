"""CPU time of an order, of a product page and of an idle second, by process and by cause. Prints JSON.

    python bench/cost.py [--window-s 10] [--blocks 2] [--rates 20]       this checkout
    python bench/cost.py --against REVISION                              beside another one, in turns: A B B A
    python bench/cost.py --py-spy py-spy                                 with the table of causes

Each lab runs with its default settings: all protections and all telemetry. A client outside the labs, whose CPU
does not count, sends the same load to both. A block of one lab is these windows, in this order:

idle       nothing is sent, nothing is recorded: the CPU of an idle lab
recorded   the same while a run is recorded: its CPU is the idle share of the next windows
page       60 product pages a second
order      orders at each rate of --rates, and until their events are relayed, mailed and exported

ms         CPU of all processes of the lab (/proc/PID/task/*/schedstat) without the idle share, per operation
ratio      this checkout by the other one: the geometric mean over blocks that follow each other; its interval is
           that of a paired t test on their logarithms (95%), so it takes two blocks
counts     what an order causes, by the lab's own metrics, without those of the recorded idle window
statements from PostgreSQL's log, in a window of its own: calls an order, and the server's time for a call
causes     the CPU by process, distributed by the shares of stacks that py-spy samples in a window of its own
           (bench/costs/causes.py); what has no cause is `unexplained`
failed     operations that were not answered as on a quiet machine: an order refused, or confirmed later (202)
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "system"), str(ROOT)]

from bench.costs.causes import Sampler, by_cause  # noqa: E402
from bench.costs.counters import counts, statements  # noqa: E402
from bench.costs.load import Load  # noqa: E402
from bench.costs.meter import Meter  # noqa: E402
from bench.lab_command import own_lab  # noqa: E402
from lab.analysis.intervals.binomial import t_quantile  # noqa: E402
from lab.http_client import exchange  # noqa: E402
from lab.state import Entry, Lab  # noqa: E402

PAGES_PER_S = 60.0
WARM_S, WARM_ORDERS_PER_S = 4.0, 8.0
SETTLE_S = 2.0  # until the last order's mail is sent and its spans are exported
STATEMENTS = 60
FAILED_MAX = 0.02  # of the orders


@dataclass
class Side:
    """One lab and what was measured of it: by kind of window, the CPU by process of each block."""

    lab: Lab
    load: Load
    meter: Meter
    idle: list[Counter[str]] = field(default_factory=list)  # ms a second
    spent: dict[str, list[Counter[str]]] = field(default_factory=dict)  # ms an operation

    def totals(self, kind: str) -> list[float]:
        """The CPU of all processes, by block."""
        return [each.total() for each in (self.idle if kind == "idle" else self.spent[kind])]


async def measure(side: Side, rates: Sequence[float], seconds: float) -> None:
    """One block."""
    side.idle.append(_scaled(await _rest(side, seconds), 1 / seconds))
    with recorded(side.lab):
        share = _scaled(await _rest(side, seconds), 1 / seconds)
        await _operations(side, "page", PAGES_PER_S, seconds, share)
        for rate in rates:
            await _operations(side, f"order at {rate:g}/s", rate, seconds, share)


async def _rest(side: Side, seconds: float) -> Counter[str]:
    before = side.meter.cpu_ns()
    await asyncio.sleep(seconds)
    return _ms(side.meter.cpu_ns(), before)


async def _operations(
    side: Side, kind: str, rate: float, seconds: float, share: Counter[str]
) -> None:
    before, began = side.meter.cpu_ns(), time.monotonic()
    sent = await _send(side, kind, rate, seconds)
    used, took_s = _ms(side.meter.cpu_ns(), before), time.monotonic() - began
    used.subtract(_scaled(share, took_s))
    side.spent.setdefault(kind, []).append(_scaled(used, 1 / sent))


async def _send(side: Side, kind: str, rate: float, seconds: float) -> int:
    sent = await side.load.send(
        side.load.page if kind == "page" else side.load.order, rate, seconds
    )
    await asyncio.sleep(SETTLE_S)
    return sent


async def count_orders(side: Side, rate: float, seconds: float) -> dict[str, Any]:
    """Counts of an order, and its statements."""
    before = await counts(side.lab)
    await asyncio.sleep(seconds)
    rest = await counts(side.lab) - before
    before, began = await counts(side.lab), time.monotonic()
    async with statements(side.lab) as logged:
        sent = await _send(side, "order", rate, seconds)
    used, longer = await counts(side.lab) - before, (time.monotonic() - began) / seconds
    return {
        "counts": {
            name: round((used[name] - rest[name] * longer) / sent, 2)
            for name in used
        },
        "statements": [
            {
                "database": each.database,
                "calls": round(each.calls / sent, 2),
                "us": round(each.ms * 1000 / max(1, each.calls)),
                "text": each.text[:160],
            }
            for each in logged[:STATEMENTS]
        ],
        "statements_per_order": round(sum(each.calls for each in logged) / sent, 1),
    }  # fmt: skip


async def find_causes(side: Side, py_spy: str, rate: float, seconds: float) -> dict[str, Any]:
    """The CPU of an order, of a page and of an idle second (ms), by cause."""
    zygote = next(each.pid for each in side.lab.entries if each.name == "zygote")
    names = {each.pid: each.service or each.name for each in side.lab.entries}
    found: dict[str, Any] = {}
    with recorded(side.lab):
        for kind in (f"order at {rate:g}/s", "page", "idle"):
            sampler = Sampler(py_spy, zygote, seconds)
            if kind == "idle":
                await asyncio.sleep(seconds)
            else:
                await _send(side, kind, PAGES_PER_S if kind == "page" else rate, seconds)
            samples = await asyncio.to_thread(sampler.samples, names)
            spent = _mean(side.idle if kind == "idle" else side.spent[kind])
            found[kind] = {
                "causes": _rounded(by_cause(spent, samples)),
                "samples": {name: dict(each.most_common()) for name, each in samples.items()},
            }
    return found


@contextmanager
def recorded(lab: Lab) -> Iterator[None]:
    """Record a run, which is thrown away."""
    url = f"{lab.addresses['recorder']}/recording"
    with tempfile.TemporaryDirectory(prefix="run-") as folder:
        exchange("POST", url, body={"run_dir": folder}, token=lab.token)
        try:
            yield
        finally:
            exchange("DELETE", url, token=lab.token, timeout_s=30.0)


def ratio(now: Sequence[float], against: Sequence[float]) -> tuple[float, list[float] | None]:
    """The geometric mean of the blocks' ratios, and its interval (None for a single block)."""
    logs = [math.log(max(a, 1e-6) / max(b, 1e-6)) for a, b in zip(now, against, strict=True)]
    middle, n = fmean(logs), len(logs)
    if n < 2:
        return round(math.exp(middle), 3), None
    half = t_quantile(0.975, n - 1) * stdev(logs) / math.sqrt(n)
    return round(math.exp(middle), 3), [
        round(math.exp(middle + sign * half), 3) for sign in (-1, 1)
    ]


def lab_of(path: Path) -> Lab:
    """The lab of a `lab.json`, also of an earlier revision: its other fields are ignored."""
    data = json.loads(path.read_bytes())
    known = {each.name for each in fields(Lab)}
    data |= {"stores": data.get("stores") or {"postgres": data.get("databases", {})}}
    data |= {key: [Entry(**each) for each in data[key]] for key in ("instances", "servers")}
    return Lab(**{key: value for key, value in data.items() if key in known})


@contextmanager
def checkout_of(revision: str) -> Iterator[Path]:
    """A checkout of the revision with its own .venv, deleted at the end; a folder is one that exists."""
    if Path(revision, ".venv").is_dir():
        yield Path(revision).absolute()
        return
    with tempfile.TemporaryDirectory(prefix="against-") as folder:
        Path(folder).chmod(0o755)  # PostgreSQL's user reads its programs below
        clone = Path(folder) / "checkout"
        subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)
        subprocess.run(["git", "checkout", "-q", revision], cwd=clone, check=True)
        subprocess.run(["make", "setup"], cwd=clone, check=True, stdout=sys.stderr)
        yield clone


async def compare(checkouts: Sequence[Path], given: argparse.Namespace) -> dict[str, Any]:
    """All figures; the first checkout is this one."""
    kinds = ["page", *(f"order at {rate:g}/s" for rate in given.rates)]
    async with AsyncExitStack() as stack:
        sides = []
        for checkout in checkouts:
            own = stack.enter_context(own_lab(checkout))
            lab = lab_of(own.folder / str(own.port_base) / "lab.json")
            sides.append(Side(lab, Load(lab.addresses["ingress"]), Meter(lab)))
            stack.push_async_callback(sides[-1].load.close)
        for side in sides:
            await side.load.log_in()
            await side.load.send(side.load.page, PAGES_PER_S, WARM_S)
            await side.load.send(side.load.order, WARM_ORDERS_PER_S, WARM_S)
            side.load.failed = 0
        for block in range(given.blocks):
            for side in sides if block % 2 == 0 else reversed(sides):
                await measure(side, given.rates, given.window_s)
        figures = []
        for side in sides:
            shown: dict[str, Any] = {"pss_mb": side.meter.pss_mb()}
            shown["idle_cores"] = round(fmean(side.totals("idle")) / 1000, 4)
            for kind in kinds:
                shown[kind] = {
                    "ms": round(fmean(side.totals(kind)), 2),
                    "blocks": [round(each, 2) for each in side.totals(kind)],
                    "by_process": _rounded(_mean(side.spent[kind])),
                }
            shown["idle_ms_per_s_by_process"] = _rounded(_mean(side.idle))
            if not given.brief:
                shown |= await count_orders(side, given.rates[0], given.window_s)
            if given.py_spy:
                shown["by_cause"] = await find_causes(
                    side, given.py_spy, given.rates[0], given.window_s
                )
            shown |= {"failed": side.load.failed, "last_failure": side.load.last_failure}
            shown["sent_late_ms"] = round(side.load.late_s * 1000, 1)
            figures.append(shown)
    found: dict[str, Any] = {"bench": "cost", "window_s": given.window_s, "blocks": given.blocks}
    found["sent"] = round(sum(given.rates) * given.window_s * given.blocks)
    if len(sides) == 2:
        names = {f"order at {rate:g}/s": f"order_ratio_at_{rate:g}" for rate in given.rates[1:]}
        names |= {"page": "page_ratio", "idle": "idle_ratio", kinds[1]: "order_ratio"}
        for kind, name in reversed(names.items()):
            found[name], found[f"{name}_interval"] = ratio(
                sides[0].totals(kind), sides[1].totals(kind)
            )
    return found | dict(zip(("now", "against"), figures, strict=False))


def _ms(after: Counter[str], before: Counter[str]) -> Counter[str]:
    after.subtract(before)
    return _scaled(after, 1e-6)


def _scaled(counter: Counter[str], factor: float) -> Counter[str]:
    return Counter({name: value * factor for name, value in counter.items()})


def _mean(blocks: Sequence[Counter[str]]) -> Counter[str]:
    names = {name for each in blocks for name in each}
    return Counter({name: fmean(each[name] for each in blocks) for name in names})


def _rounded(values: dict[str, Any]) -> dict[str, float]:
    return {name: round(value, 2) for name, value in sorted(values.items(), key=lambda e: -e[1])}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--against", help="a revision, or the folder of a checkout with its .venv")
    parser.add_argument("--window-s", type=float, default=10.0)
    parser.add_argument("--blocks", type=int, default=2)
    parser.add_argument("--rates", type=float, nargs="+", default=[20.0])
    parser.add_argument("--brief", action="store_true", help="without counts and statements")
    parser.add_argument("--py-spy", default="", help="the program py-spy: also measure causes")
    given = parser.parse_args()
    with ExitStack() as stack:
        checkouts = [ROOT]
        if given.against:
            checkouts.append(stack.enter_context(checkout_of(given.against)))
        found = asyncio.run(compare(checkouts, given))
    print(json.dumps(found, indent=1))
    failed = {name: found[name]["failed"] for name in ("now", "against") if name in found}
    if max(failed.values()) > FAILED_MAX * found["sent"]:
        print(
            f"too many operations failed, so these are not their costs: {failed}", file=sys.stderr
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
