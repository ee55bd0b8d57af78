"""The supervisor's control API: HTTP on loopback, for the command line and for chaos actions.

Every request requires `Authorization: Bearer <token of lab.json>`. A target is an instance (`orders-1`), a service
(`orders`: all its instances), a server or a tool (`postgres`, `nginx`, `mail`).

    GET  /status?live=1
    POST /kill     {"target", "signal": "KILL", "restart": true}  -> {"killed": [{"name", "pid"}]}
    POST /signal   {"target", "signal"}                          the same; STOP pauses, CONT resumes
    POST /restart  {"target"}                                    stops gracefully and starts again
    POST /scale    {"service", "replicas": 0..10}
    POST /heal     {}                                            clears faults, starts and resumes processes
    GET  /faults?history=1                                       {"items": [faults of processes]}
    POST /faults   {"target", "kind", "ttl_s"}                   in force on return; undone at the TTL
    DELETE /faults?target=                                       {"removed": n}
"""

import asyncio
import signal
from typing import Any

from lab.httpd import HttpError, Request, Response, json_response
from lab.nearest import nearest
from lab.runtimes.posix import ports
from lab.runtimes.supervisor.base import Supervisor
from lab.runtimes.supervisor.managed_process import ManagedProcess, State
from lab.runtimes.supervisor.process_faults import ProcessFaultError, send_signal
from lab.topology import REPLICAS_MAX

SIGNALS = ("KILL", "TERM", "STOP", "CONT", "INT", "QUIT", "HUP")


class ControlApi:
    """Answers requests to `supervisor`."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    async def answer(self, request: Request) -> Response:
        request.authorize(self._supervisor.lab.token)
        if (request.method, request.path) == ("GET", "/status"):
            live = request.query.get("live", "") == "1"
            return json_response(await self._supervisor.status(live=live))
        if request.path == "/faults":
            return await self._faults(request)
        actions = {
            "/kill": self._kill,
            "/signal": self._kill,
            "/restart": self._restart,
            "/scale": self._scale,
            "/heal": self._heal,
        }
        if request.path not in actions:
            known = f"GET /status, GET /faults, POST {' '.join(actions)} /faults"
            raise HttpError(404, f"no {request.path}; the API has: {known}")
        if request.method != "POST":
            raise HttpError(405, f"use POST for {request.path}")
        return json_response(await actions[request.path](request.json()))

    async def _kill(self, body: dict[str, Any]) -> dict[str, Any]:
        name = str(body.get("signal", "KILL")).upper().removeprefix("SIG")
        if name not in SIGNALS:
            raise HttpError(400, f"signal {name!r}{nearest(name, SIGNALS)}")
        number = signal.Signals[f"SIG{name}"]
        processes = [each for each in self._targets(body) if each.pid]
        if not processes:
            raise HttpError(409, f"{body['target']} is not running; see `lab status`")
        killed = [{"name": each.spec.name, "pid": each.pid} for each in processes]
        self._supervisor.log("warning", f"sending {name}", killed=killed)
        restart = body.get("restart", True) is not False
        await asyncio.gather(*(send_signal(each, number, restart=restart) for each in processes))
        return {"signal": name, "killed": killed}

    async def _restart(self, body: dict[str, Any]) -> dict[str, Any]:
        processes = self._targets(body)
        await self._supervisor.restart(processes)
        return _result(processes)

    async def _scale(self, body: dict[str, Any]) -> dict[str, Any]:
        name, replicas = str(body.get("service", "")), body.get("replicas")
        services = self._supervisor.topology.services
        if name not in services:
            raise HttpError(404, f"no service {name!r}{nearest(name, services)}")
        if not isinstance(replicas, int) or not 0 <= replicas <= REPLICAS_MAX:
            raise HttpError(400, f"replicas: expected 0 to {REPLICAS_MAX}, got {replicas!r}")
        self._check_ports(name, replicas)
        return _result(await self._supervisor.scale(name, replicas))

    async def _faults(self, request: Request) -> Response:
        faults = self._supervisor.faults
        if request.method == "GET":
            shown = faults.history if request.query.get("history") == "1" else faults.armed
            return json_response({"items": [each.record.to_row() for each in shown]})
        if request.method == "DELETE":
            target = request.query.get("target", "")
            names = [k.spec.name for k in self._targets({"target": target})] if target else None
            return json_response({"removed": await faults.clear(names)})
        if request.method != "POST":
            raise HttpError(405, "use GET, POST or DELETE for /faults")
        spec = request.json()
        try:
            added = await faults.add(spec, self._targets(spec))
        except ProcessFaultError as refused:
            raise HttpError(400, str(refused)) from None
        return json_response({"items": [each.record.to_row() for each in added]}, 201)

    async def _heal(self, _body: dict[str, Any]) -> dict[str, Any]:
        await self._supervisor.faults.clear()
        down = (State.STOPPED, State.BACKOFF)
        processes = [each for each in self._supervisor.processes.values() if each.state in down]
        for process in processes:
            process.start()
        for process in self._supervisor.processes.values():
            if process.paused:
                process.send(signal.SIGCONT, restart=True)
                processes.append(process)
            await process.wait_ready()
        return _result(processes)

    def _targets(self, body: dict[str, Any]) -> list[ManagedProcess]:
        target, processes = str(body.get("target", "")), self._supervisor.processes
        if target in processes:
            return [processes[target]]
        if found := self._supervisor.instances(target):
            return found
        known = [*processes, *self._supervisor.topology.services]
        raise HttpError(404, f"no instance or service {target!r}{nearest(target, known)}")

    def _check_ports(self, name: str, replicas: int) -> None:
        supervisor = self._supervisor
        first = supervisor.lab.port_base + supervisor.topology.services[name].offset
        running = len(supervisor.instances(name))
        new = {f"{name}-{n + 1}": first + n for n in range(running, replicas)}
        for instance in list(new):
            new |= supervisor.edge_ports(instance)
        if taken := ports.taken(new):
            raise HttpError(409, "; ".join(map(str, taken)))


def _result(processes: list[ManagedProcess]) -> dict[str, Any]:
    facts = [process.facts() for process in processes]
    return {"ready": all(each["state"] == "ready" for each in facts), "processes": facts}
