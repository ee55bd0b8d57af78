"""Servers that watch the lab: found on PATH or by setting, or unpacked when asked for; never required."""

import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

from lab.runtimes.servers import apt_packages
from lab.runtimes.servers.binaries import Binary, ServerMissingError
from lab.runtimes.servers.commands import Command
from lab.topology import PROJECT

# name: its programs on PATH
OBSERVERS = {
    "jaeger": ("jaeger",),
    "prometheus": ("prometheus",),
    "alertmanager": ("alertmanager", "prometheus-alertmanager"),
}


def find(name: str, env: Mapping[str, str] = os.environ) -> Binary | None:
    """The program of an observer: `LAB_JAEGER=/path/jaeger`, else PATH; None if there is none.

    `LAB_JAEGER=off` leaves it out. Raises ServerMissingError if the setting names no program.
    """
    variable = f"LAB_{name.upper()}"
    configured = env.get(variable, "")
    if configured == "off":
        return None
    if configured:
        path = Path(configured).expanduser()
        if not os.access(path, os.X_OK) or path.is_dir():
            raise ServerMissingError(
                f"{variable}={configured} is not a program: correct it, or say off"
            )
        return Binary(name, path.absolute(), "configured")
    for program in OBSERVERS[name]:
        if found := shutil.which(program, path=env.get("PATH")):
            return Binary(name, Path(found).absolute(), "PATH")
    return None


def chosen(listeners: Collection[str], unpacked_too: Collection[str] = ()) -> list[str]:
    """What a new lab is watched by, of the topology's `listeners`: who was found, `unpacked_too`, and
    who goes with them. Raises ServerMissingError."""
    off = {name for name in OBSERVERS if os.environ.get(f"LAB_{name.upper()}") == "off"}
    there = [
        name
        for name in OBSERVERS
        if name in listeners and name not in off and (name in unpacked_too or find(name))
    ]
    companions = {"jaeger": "jaeger_otlp", "prometheus": "watch", "alertmanager": "watch"}
    return [*there, *sorted({companions[name] for name in there} & set(listeners))]


def locate(name: str) -> Binary:
    """The program of an observer that the lab began with. Raises ServerMissingError if it has gone since."""
    if found := find(name):
        return found
    if path := apt_packages.program(name):
        return Binary(name, path, "unpacked")
    raise ServerMissingError(f"{name}: it was there when the lab began, and is not any more")


def jaeger(page: int, otlp: int) -> Command:
    """Jaeger with its traces in memory; its page and API on `page`, OTLP/HTTP on `otlp`.

    Raises ServerMissingError.
    """
    binary = locate("jaeger")
    deploy = PROJECT / "system" / "deploy"
    env = {
        "JAEGER_UI": str(deploy / "jaeger-ui.js"),
        "JAEGER_PAGE": f"127.0.0.1:{page}",
        "JAEGER_GRPC": "127.0.0.1:0",
        "JAEGER_OTLP": f"127.0.0.1:{otlp}",
        "JAEGER_MEMORY_MIB": "512",
        "GOMEMLIMIT": "400MiB",
    }
    return Command([binary.path, "--config", deploy / "jaeger.yaml"], env=env)


def prometheus(config: Path, data: Path, port: int) -> Command:
    """Prometheus on `config`; a day's data at most, exemplars kept. Raises ServerMissingError."""
    data.mkdir(parents=True, exist_ok=True)
    binary = locate("prometheus")
    argv: list[str | Path] = [binary.path, f"--config.file={config}", f"--storage.tsdb.path={data}"]
    argv += [f"--web.listen-address=127.0.0.1:{port}", "--storage.tsdb.retention.time=1d"]
    argv += ["--enable-feature=exemplar-storage", "--log.level=warn"]
    share = binary.path.parents[1] / "share" / "prometheus" / "web"
    if binary.source == "unpacked":  # a flag of Debian's builds: theirs are not in the program
        argv += [f"--web.local-assets={share}"]
    return Command(argv, env={"GOMEMLIMIT": "80MiB"})


def alertmanager(config: Path, data: Path, port: int) -> Command:
    """Alertmanager alone, without a cluster. Raises ServerMissingError."""
    data.mkdir(parents=True, exist_ok=True)
    argv: list[str | Path] = [locate("alertmanager").path, f"--config.file={config}"]
    argv += [f"--storage.path={data}", f"--web.listen-address=127.0.0.1:{port}"]
    argv += ["--cluster.listen-address=", "--log.level=warn"]
    return Command(argv, env={"GOMEMLIMIT": "40MiB"})
