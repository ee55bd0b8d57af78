"""Name resolution in the engine's network after the removal of a container, from the shop's own image.

Skipped where no engine answers, or none has the shop's image (`lab up --runtime compose` builds it).
"""

import json
from typing import Any

import yaml

from lab.topology import PROJECT
from tests.lab.runtimes.compose.containers import IMAGE, docker, needs_the_image

pytestmark = needs_the_image
SEARCHERS = 5  # the broker's client retries every 2.25 s, and a failed resolution can take 10 s
SCRIPT = f"""
import asyncio, json, os, time
from chassis import run

async def seconds(name):
    began = time.monotonic()
    try:
        await asyncio.get_running_loop().getaddrinfo(name, 80)
        known = True
    except OSError:
        known = False
    return known, time.monotonic() - began

async def look():
    gone = [asyncio.create_task(seconds("gone")) for _ in range({SEARCHERS})]
    await asyncio.sleep(0.2)  # the searches have begun
    other = await seconds(os.environ["HOSTNAME"])
    print(json.dumps({{"other": other, "gone": await asyncio.gather(*gone)}}))

run.Server.run = lambda server: asyncio.run(look(), loop_factory=server.config.get_loop_factory())
run.serve("gateway")
"""


def looked(network: str, *options: str) -> dict[str, Any]:
    """Results of a service in that network: another name, while SEARCHERS resolve a removed one."""
    name = f"{network}-resolver"
    run = ["run", "--rm", "--name", name, "--hostname", name, "--network", network, *options]
    settings = [f"--env={each}" for each in ("PORT=8090", "SERVICE_SECRET=" + "s" * 32)]
    argv = [*run, *settings, f"--env=HOSTNAME={name}", "--entrypoint=python", IMAGE, "-c", SCRIPT]
    found: dict[str, Any] = json.loads(docker(*argv))
    return found


def test_an_unanswered_name_does_not_block_the_resolution_of_others(network: str) -> None:
    """No server listens on 127.0.0.1: an old engine does not answer, and the resolver waits twice 5 s."""
    known, seconds = looked(network, "--dns=127.0.0.1")["other"]
    assert known
    assert seconds < 2, "it waited for a removed name"


def test_composes_settings_limit_the_wait_for_a_removed_name(network: str) -> None:
    program = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())["x-program"]
    options = [f"--dns={each}" for each in program["dns"]]
    options += [f"--dns-opt={each}" for each in program["dns_opt"]]
    for known, seconds in looked(network, *options)["gone"]:
        assert not known
        assert seconds < 4
