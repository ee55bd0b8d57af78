"""Runs `docker compose`: checks its version, and explains its failures."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.state import StateError
from lab.topology import PROJECT

ENGINE_MIN = (20, 10)
COMPOSE_MIN = (2, 20)
INSTALL = "https://docs.docker.com/engine/install/ (Linux), Docker Desktop or colima (macOS)"
TAIL_LINES = 15
TAIL_CHARS = 2500
HINTS = {
    "no space left on device": "make room where the engine keeps its images: `docker system df`, "
    "`docker system prune`",
    "port is already allocated": "end the process that holds the port, or choose others with --port-base",
    "address already in use": "end the process that holds the port, or choose others with --port-base",
    "no such host": "an image cannot be downloaded from here: `docker compose pull` where it can",
    "pull access denied": "an image cannot be downloaded from here: `docker compose pull` where it can",
}


class EngineError(StateError):
    """The engine is missing, too old, or failed. The message has advice."""


def check() -> None:
    """Check that the container engine and its compose plugin work and are new enough. Raises EngineError."""
    if shutil.which("docker") is None:
        raise EngineError(f"there is no `docker` on PATH: install it, {INSTALL}")
    engine = _execute(["docker", "version", "--format", "{{.Server.Version}}"])
    if engine.returncode != 0:
        output = (engine.stderr or engine.stdout).strip().splitlines()
        raise EngineError(
            f"the container engine does not answer ({output[-1] if output else 'no output'}): start it "
            "(`systemctl start docker`, Docker Desktop, `colima start`), or set DOCKER_HOST to its address"
        )
    _at_least("the container engine", engine.stdout, ENGINE_MIN)
    compose = _execute(["docker", "compose", "version", "--short"])
    if compose.returncode != 0:
        raise EngineError(f"`docker compose` is missing: install its plugin, {INSTALL}")
    _at_least("docker compose", compose.stdout, COMPOSE_MIN)


def endpoint() -> str:
    """The address of the engine's API: `unix:///...` or `tcp://host:port`. Raises EngineError."""
    if named := os.environ.get("DOCKER_HOST"):
        found = named
    else:
        context = ["docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]
        found = _execute(context).stdout.strip() or "unix:///var/run/docker.sock"
    if not found.startswith(("unix://", "tcp://")):
        raise EngineError(f"the engine is at {found}: expected unix:// or tcp:// (see DOCKER_HOST)")
    return found


def has_volume(name: str) -> bool:
    """Whether the engine has a volume of exactly this name."""
    return _execute(["docker", "volume", "inspect", name]).returncode == 0


@dataclass(frozen=True)
class Compose:
    """The commands of one project: its files, its environment file, its profiles."""

    project: str
    files: Sequence[Path]
    env_file: Path
    profiles: Sequence[str]

    @property
    def command(self) -> list[str]:
        argv = ["docker", "compose", "--project-directory", str(PROJECT), "-p", self.project]
        argv += ["--env-file", str(self.env_file)]
        for file in self.files:
            argv += ["-f", str(file)]
        for profile in self.profiles:
            argv += ["--profile", profile]
        return argv

    def run(self, *arguments: str, log: Path | None = None) -> str:
        """Run a command: its stdout. `log` gets all output. Raises EngineError with the end of the output."""
        done = _execute([*self.command, *arguments])
        output = done.stdout + done.stderr
        if log is not None:
            with log.open("a") as file:
                file.write(output)
        if done.returncode != 0:
            raise EngineError(f"`docker compose {arguments[0]}` failed: {explained(output)}")
        return done.stdout

    def containers(self) -> list[dict[str, Any]]:
        """Every container of the project: Service, State, Health, ExitCode, Name."""
        lines = self.run("ps", "--all", "--format", "json").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def troubled(self) -> list[str]:
        """A paragraph for each container that is unhealthy or not running, with the end of its log."""
        return [
            f"{each['Service']} is {_condition(each)}; its log ends with:\n{self.tail(each['Service'])}"
            for each in self.containers()
            if each["State"] in ("exited", "restarting", "dead", "created")
            or each["Health"] == "unhealthy"
        ]

    def tail(self, service: str) -> str:
        """The last log lines of a service."""
        options = ["--no-log-prefix", "--no-color", "--tail", str(TAIL_LINES)]
        done = _execute([*self.command, "logs", *options, service])
        return (done.stdout + done.stderr).strip()[-TAIL_CHARS:] or "(nothing)"


def explained(output: str) -> str:
    """The lines of compose's output that show the error, and advice for known errors."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [
        line for line in lines if re.search(r"error|failed|denied|no space|unhealthy", line, re.I)
    ]
    text = "\n".join((errors or lines)[-5:]) or "it printed nothing"
    hints = [hint for word, hint in HINTS.items() if word in output]
    return "\n".join([text, *dict.fromkeys(hints)])


def _condition(container: dict[str, Any]) -> str:
    state, health = str(container["State"]), container["Health"]
    if state == "exited":
        return f"exited with {container['ExitCode']}"
    return str(health) if health == "unhealthy" else state


def _at_least(what: str, text: str, least: tuple[int, int]) -> None:
    found = re.search(r"(\d+)\.(\d+)", text)
    if found is None or (int(found[1]), int(found[2])) < least:
        wanted = ".".join(map(str, least))
        raise EngineError(
            f"{what} is {text.strip() or 'of unknown version'}, {wanted} is required: {INSTALL}"
        )


def _execute(argv: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    # no colours and no animated progress: the output goes into messages and logs
    env = {**os.environ, "NO_COLOR": "1", "COMPOSE_PROGRESS": "plain", "BUILDKIT_PROGRESS": "plain"}
    return subprocess.run(argv, capture_output=True, text=True, env=env, stdin=subprocess.DEVNULL)
