"""The processes runtime on a real lab: kill, pause, scale and heal."""

import asyncio
import json
import os
import signal
import time
from urllib.parse import urlsplit

import asyncpg
import nats as nats_py
import psutil
import pytest
from nats.errors import Error as NatsError

from lab.edges import HOST
from lab.runtimes.logs import LogFilter
from lab.runtimes.processes.runtime import ProcessesRuntime
from lab.runtimes.supervisor import client
from lab.runtimes.supervisor.client import ControlError, UsageError
from lab.state import Lab, StateError
from lab.watch.valkey import fetch
from tests.fixtures.labs import get, process, stub_runtime, who
from tests.fixtures.waiting import wait_until


def ready_again(lab: ProcessesRuntime, name: str, old_pid: int) -> None:
    wait_until(
        lambda: (
            process(lab, name)["pid"] not in (None, old_pid)
            and process(lab, name)["state"] == "ready"
        ),
        f"{name} ready with another pid",
    )


def test_everything_is_ready_and_counted(stub_lab: ProcessesRuntime) -> None:
    status = stub_lab.status()
    assert status["ready"]
    names = {each["name"] for each in status["processes"]}
    assert {"front-1", "front-2", "back-1", "postgres", "valkey", "nats", "nginx", "mail"} <= names
    assert all(each["memory_mb"] > 0.5 for each in status["processes"]), status


def test_only_the_owner_can_read_the_file_with_the_secrets(stub_lab: ProcessesRuntime) -> None:
    assert (stub_lab.home / "lab.json").stat().st_mode & 0o077 == 0


def test_up_again_reports_that_the_lab_is_up(stub_lab: ProcessesRuntime) -> None:
    before = process(stub_lab, "back-1")["pid"]
    done = stub_lab.up()
    assert (done.already, done.healed) == (True, [])
    assert process(stub_lab, "back-1")["pid"] == before


def test_a_killed_instance_is_back_after_the_restart_delay(stub_lab: ProcessesRuntime) -> None:
    before = process(stub_lab, "back-1")
    began = time.monotonic()
    assert stub_lab.kill("back-1")["killed"] == [{"name": "back-1", "pid": before["pid"]}]
    ready_again(stub_lab, "back-1", before["pid"])
    assert time.monotonic() - began >= 0.2
    after = process(stub_lab, "back-1")
    assert (after["restarts"], after["last_exit"]) == (before["restarts"] + 1, -signal.SIGKILL)


def test_a_process_killed_without_restart_stays_down_until_up(stub_lab: ProcessesRuntime) -> None:
    stub_lab.kill("front-2", restart=False)
    assert process(stub_lab, "front-2")["state"] == "stopped"
    assert not stub_lab.status()["ready"]
    with pytest.raises(ControlError, match="front-2 is not running"):
        stub_lab.kill("front-2")
    assert stub_lab.up().healed == ["front-2"]
    assert stub_lab.status()["ready"]


def test_up_right_after_a_kill_does_not_report_the_killed_process_as_ready(
    stub_lab: ProcessesRuntime,
) -> None:
    killed = ["front-1", "front-2", "back-1"]
    for name in killed:
        stub_lab.kill(name, restart=False)
    assert stub_lab.up().healed == killed
    assert [process(stub_lab, name)["state"] for name in killed] == ["ready"] * 3


@pytest.mark.parametrize("name", ["back-1", "postgres", "nginx", "nats"])
def test_a_paused_process_is_shown_as_paused_and_resumes(
    stub_lab: ProcessesRuntime, name: str
) -> None:
    pid = process(stub_lab, name)["pid"]
    stub_lab.kill(name, "STOP")
    assert process(stub_lab, name)["state"] == "paused"
    group = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    assert {each.status() for each in group} == {psutil.STATUS_STOPPED}
    stub_lab.kill(name, "CONT")
    after = process(stub_lab, name)
    assert (after["state"], after["pid"]) == ("ready", pid)


def test_scaling_the_ingress_service_adds_it_to_nginx_and_takes_it_out(
    stub_lab: ProcessesRuntime,
) -> None:
    assert stub_lab.scale("front", 3)["ready"]
    wait_until(lambda: who(stub_lab)["instance"] == "front-3", "nginx calls front-3")
    assert stub_lab.address("front-3") == f"http://127.0.0.1:{stub_lab.port_base + 12}"
    stub_lab.scale("front", 2)
    assert {who(stub_lab)["instance"] for _ in range(8)} == {"front-1", "front-2"}
    with pytest.raises(UsageError):
        stub_lab.address("front-3")


def test_committed_work_survives_a_kill_of_postgres(stub_lab: ProcessesRuntime) -> None:
    url = stub_lab.lab.databases["back"]

    async def run(sql: str) -> object:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    asyncio.run(run("CREATE TABLE IF NOT EXISTS kept AS SELECT 42 AS x"))
    pid = process(stub_lab, "postgres")["pid"]
    stub_lab.kill("postgres")
    ready_again(stub_lab, "postgres", pid)
    assert asyncio.run(run("SELECT x FROM kept")) == 42


def test_nginx_is_back_on_its_port_after_a_kill(stub_lab: ProcessesRuntime) -> None:
    pid = process(stub_lab, "nginx")["pid"]
    stub_lab.kill("nginx")
    ready_again(stub_lab, "nginx", pid)
    assert who(stub_lab)["instance"].startswith("front-")


def test_after_the_zygotes_death_all_its_children_start_again(stub_lab: ProcessesRuntime) -> None:
    old = process(stub_lab, "back-1")["pid"]
    zygote = next(entry.pid for entry in stub_lab.lab.servers if entry.name == "zygote")
    os.kill(zygote, signal.SIGKILL)
    ready_again(stub_lab, "back-1", old)
    wait_until(lambda: stub_lab.status()["ready"], "all ready")


def test_an_instance_gets_only_the_settings_of_its_service(stub_lab: ProcessesRuntime) -> None:
    answers = json.loads(get(stub_lab.address("back") + "/api/settings")[2])
    assert (answers["INSTANCE"], answers["LAB_TOKEN"]) == ("back-1", stub_lab.lab.token)
    assert answers["OTLP_TOKEN"] == stub_lab.lab.signals_token != stub_lab.lab.token
    assert answers["DATABASE_URL"] == stub_lab.lab.databases["back"]
    front = json.loads(get(stub_lab.address("front-1") + "/api/settings")[2])
    assert not {"DATABASE_URL", "VALKEY_URL", "NATS_URL", "SMTP_URL"} & set(front)


def test_the_stores_of_a_lab_refuse_a_client_without_a_password(stub_lab: ProcessesRuntime) -> None:
    lab = stub_lab.lab
    valkey, nats = (urlsplit(lab.addresses[each]) for each in ("valkey", "nats"))

    async def ask() -> None:
        with pytest.raises(ValueError, match="WRONGPASS"):
            await fetch(urlsplit(f"redis://lab:guessed@{HOST}:{valkey.port}"))
        assert (await fetch(valkey))["connected_clients"]
        with pytest.raises(NatsError, match="Authorization Violation"):
            await nats_py.connect(f"nats://{HOST}:{nats.port}", allow_reconnect=False)
        client = await nats_py.connect(nats.geturl(), allow_reconnect=False)
        await client.close()

    asyncio.run(ask())
    assert get(lab.addresses["nats_monitoring"] + "/varz")[0] == 200
    assert get(f"http://{HOST}:{urlsplit(lab.addresses['nats_monitoring']).port}/varz")[0] == 404


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/kill", {"target": "frnt-1"}, "did you mean 'front-1'"),
        ("/kill", {"target": "front-1", "signal": "KIL"}, "did you mean 'KILL'"),
        ("/scale", {"service": "back", "replicas": 11}, "expected 0 to 10"),
        ("/scale", {"service": "bakc", "replicas": 1}, "did you mean 'back'"),
        ("/explode", {}, "no /explode; the API has"),
    ],
)
def test_the_control_api_explains_a_wrong_request(
    stub_lab: ProcessesRuntime, path: str, body: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        client.call_supervisor(stub_lab.lab, "POST", path, body)


def test_the_control_api_requires_the_token(stub_lab: ProcessesRuntime) -> None:
    lab = stub_lab.lab
    lab.token = "guessed"
    with pytest.raises(StateError, match="Bearer"):
        client.call_supervisor(lab, "POST", "/kill", {"target": "back-1"})


def test_log_lines_are_merged_and_filtered(stub_lab: ProcessesRuntime) -> None:
    lines = list(stub_lab.logs("supervisor", only=LogFilter("warning")))
    assert lines
    assert {line.level for line in lines} <= {"warning", "error"}
    with pytest.raises(UsageError, match="did you mean 'front-1'"):
        stub_lab.logs("frnt-1")


def test_two_labs_run_side_by_side(stub_lab: ProcessesRuntime) -> None:
    other = stub_runtime()
    other.up()
    try:
        assert other.status()["ready"]
        assert other.lab.token != stub_lab.lab.token
    finally:
        other.down()
    assert stub_lab.status()["ready"]
    with pytest.raises(StateError, match="no lab is up"):
        Lab.load(other.home)
