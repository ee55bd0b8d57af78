"""The optional observability programs (Jaeger, Prometheus, Alertmanager): from a setting, PATH or a package."""

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

    `LAB_JAEGER=off` excludes it. Raises ServerMissingError if the setting names no program.
    """
    variable = f"LAB_{name.upper()}"
    configured = env.get(variable, "")
    if configured == "off":
        return None
    if configured:
        path = Path(configured).expanduser()
        if not os.access(path, os.X_OK) or path.is_dir():
            raise ServerMissingError(
                f"{variable}={configured} is not a program: correct it, or set it to off"
            )
        return Binary(name, path.absolute(), "configured")
    for program in OBSERVERS[name]:
        if found := shutil.which(program, path=env.get("PATH")):
            return Binary(name, Path(found).absolute(), "PATH")
    return None


def chosen(listeners: Collection[str], unpacked: Collection[str] = ()) -> list[str]:
    """The observers of a new lab, of the topology's `listeners`: found, `unpacked`, and their companions.

    Raises ServerMissingError.
    """
    off = {name for name in OBSERVERS if os.environ.get(f"LAB_{name.upper()}") == "off"}
    names = [
        name
        for name in OBSERVERS
        if name in listeners and name not in off and (name in unpacked or find(name))
    ]
    companions = {"jaeger": "jaeger_otlp", "prometheus": "watch", "alertmanager": "watch"}
    return [*names, *sorted({companions[name] for name in names} & set(listeners))]


def locate(name: str) -> Binary:
    """The program of an observer that the lab started with. Raises ServerMissingError if it is missing now."""
    if found := find(name):
        return found
    if path := apt_packages.program(name):
        return Binary(name, path, "unpacked")
    raise ServerMissingError(
        f"{name}: its program was found when the lab started, and is missing now"
    )


def jaeger(page: int, otlp: int) -> Command:
    """Jaeger with traces in memory; its page and API on `page`, OTLP/HTTP on `otlp`.

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
    """Prometheus with `config`; it keeps one day of data, and exemplars. Raises ServerMissingError."""
    data.mkdir(parents=True, exist_ok=True)
    binary = locate("prometheus")
    argv: list[str | Path] = [binary.path, f"--config.file={config}", f"--storage.tsdb.path={data}"]
    argv += [f"--web.listen-address=127.0.0.1:{port}", "--storage.tsdb.retention.time=1d"]
    argv += ["--enable-feature=exemplar-storage", "--log.level=warn"]
    share = binary.path.parents[1] / "share" / "prometheus" / "web"
    if (
        binary.source == "unpacked"
    ):  # a flag of Debian's builds: their program does not contain the web assets
        argv += [f"--web.local-assets={share}"]
    return Command(argv, env={"GOMEMLIMIT": "80MiB"})


def alertmanager(config: Path, data: Path, port: int) -> Command:
    """Alertmanager without a cluster. Raises ServerMissingError."""
    data.mkdir(parents=True, exist_ok=True)
    argv: list[str | Path] = [locate("alertmanager").path, f"--config.file={config}"]
    argv += [f"--storage.path={data}", f"--web.listen-address=127.0.0.1:{port}"]
    argv += ["--cluster.listen-address=", "--log.level=warn"]
    return Command(argv, env={"GOMEMLIMIT": "40MiB"})
