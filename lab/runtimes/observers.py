"""Servers that watch the lab where they are installed: found on PATH or by setting, never required."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from lab.runtimes.binaries import Binary, ServerMissing
from lab.runtimes.servers import Command
from lab.topology import PROJECT

OBSERVERS = {"jaeger": ("jaeger",)}  # name: its programs on PATH


def find(name: str, env: Mapping[str, str] = os.environ) -> Binary | None:
    """The program of an observer: `LAB_JAEGER=/path/jaeger`, else PATH; None if there is none.

    `LAB_JAEGER=off` leaves it out. Raises ServerMissing if the setting names no program.
    """
    variable = f"LAB_{name.upper()}"
    configured = env.get(variable, "")
    if configured == "off":
        return None
    if configured:
        path = Path(configured).expanduser()
        if not os.access(path, os.X_OK) or path.is_dir():
            raise ServerMissing(f"{variable}={configured} is not a program: correct it, or say off")
        return Binary(name, path.absolute(), "configured")
    for program in OBSERVERS[name]:
        if found := shutil.which(program, path=env.get("PATH")):
            return Binary(name, Path(found).absolute(), "PATH")
    return None


def jaeger(page: int, otlp: int) -> Command:
    """Jaeger with its traces in memory; its page and API on `page`, OTLP/HTTP on `otlp`.

    Raises ServerMissing if it has gone since the lab began.
    """
    binary = find("jaeger")
    if binary is None:
        raise ServerMissing("jaeger: it was there when the lab began, and is not any more")
    env = {
        "JAEGER_PAGE": f"127.0.0.1:{page}",
        "JAEGER_GRPC": "127.0.0.1:0",
        "JAEGER_OTLP": f"127.0.0.1:{otlp}",
        "GOMEMLIMIT": "400MiB",
    }
    config = PROJECT / "system" / "deploy" / "jaeger.yaml"
    return Command([binary.path, "--config", config], env=env)
