"""The whole lab as `lab up` starts it: all ready, within its memory, each printed URL works."""

import urllib.request

from lab.commands.up import urls
from lab.runtimes.processes.runtime import ProcessesRuntime
from lab.topology import load

MEMORY_MB_MAX = 500


def test_every_instance_of_the_topology_is_ready(lab: ProcessesRuntime) -> None:
    status = lab.status()
    assert status["ready"], [each for each in status["processes"] if each["state"] != "ready"]
    expected = {
        f"{service.name}-{number}"
        for service in load().services.values()
        for number in range(1, service.replicas + 1)
    }
    assert {each["name"] for each in status["processes"] if each["service"]} == expected


def test_the_idle_lab_stays_within_its_memory(lab: ProcessesRuntime) -> None:
    status = lab.status()
    by_name = {each["name"]: each["memory_mb"] for each in status["processes"]}
    assert status["memory_mb"] <= MEMORY_MB_MAX, f"a new instance adds 25 MB: {by_name}"


def test_each_url_that_up_prints_can_be_opened(lab: ProcessesRuntime) -> None:
    for what, url in urls(lab.lab).items():
        if "when on" not in what:
            with urllib.request.urlopen(url, timeout=5) as answer:
                assert answer.status == 200, what


def test_no_import_started_a_thread_or_failed_before_the_fork(lab: ProcessesRuntime) -> None:
    assert (lab.home / "logs" / "zygote.log").read_text() == ""
