"""PostgreSQL, Valkey and NATS as direct children: how each is prepared and its command line."""

import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab.files import write_atomic
from lab.runtimes.posix.spawn import NOBODY, must_drop_root
from lab.runtimes.servers.binaries import resolve

POSTGRES_USER = "postgres"


class ServerFailedError(Exception):
    """A server could not be prepared; the message says why and what to do."""


@dataclass(frozen=True)
class Command:
    """What to start, and how: see spawn.start."""

    argv: Sequence[str | Path]
    env: Mapping[str, str] = field(default_factory=dict)
    drop_root: bool = False
    death_signal: signal.Signals = signal.SIGKILL


class Cluster:
    """PostgreSQL's files in `data`: made beside and renamed when done, so that none is ever half made."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self._unfinished = data.with_name(data.name + ".unfinished")
        self._password_file = data.with_name(data.name + ".password")

    def exists(self) -> bool:
        """Raises ServerFailedError if it was made by another major version."""
        try:
            made_by = (self.data / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            return False
        version = resolve("postgres").version()
        if made_by != version.split(".")[0]:
            raise ServerFailedError(
                f"{self.data} was made by PostgreSQL {made_by}, this is {version}: start anew with "
                "`lab up --fresh`, or set LAB_POSTGRES to the program it was made by"
            )
        return True

    def initdb(self, password: str) -> Command:
        """Makes the cluster (about 0.4 s); call `finish` when it has ended."""
        shutil.rmtree(self._unfinished, ignore_errors=True)
        self._unfinished.mkdir(parents=True)
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(password)
        if must_drop_root():
            os.chown(self._unfinished, NOBODY, NOBODY)
            os.chown(self._password_file, NOBODY, NOBODY)
        argv: list[str | Path] = [resolve("postgres").beside("initdb"), "-D", self._unfinished]
        argv += [f"--username={POSTGRES_USER}", f"--pwfile={self._password_file}"]
        argv += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]
        argv += ["--no-sync", "--no-instructions", "--wal-segsize=4"]
        return Command(argv, drop_root=True)

    def finish(self, code: int, log: Path) -> None:
        """Take over what initdb made, by its exit code. Raises ServerFailedError."""
        self._password_file.unlink(missing_ok=True)
        if code != 0:
            shutil.rmtree(self._unfinished, ignore_errors=True)
            said = log.read_text(errors="replace")[-1000:].strip()
            raise ServerFailedError(f"initdb failed with {code}: {said}")
        self._unfinished.rename(self.data)


def postgres(data: Path, port: int) -> Command:
    """PostgreSQL on a Cluster's files."""
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": "",
        "max_connections": "300",  # 10 instances a service at their pool's size, and the lab's own
        "shared_buffers": "16MB",
        # The lab kills processes, never the machine: what was handed to the kernel survives that. So
        # fsync and full pages buy nothing here. synchronous_commit stays on, because a commit that is
        # still in the server's own buffers would be lost with it, and the checker would be right.
        "fsync": "off",
        "full_page_writes": "off",
        # no replica listens: fewer helper processes and less log
        "wal_level": "minimal",
        "max_wal_senders": "0",
        "max_logical_replication_workers": "0",
        "min_wal_size": "32MB",
        "max_wal_size": "256MB",
        "jit": "off",
        # the passwords are 128 random bits: stretching them would only slow each connection
        "scram_iterations": "256",
        "log_line_prefix": "%m [%p] %q%u@%d ",
        "log_checkpoints": "off",
    }
    binary = resolve("postgres")
    if binary.version().split(".")[0] in ("18", "19"):
        settings["io_method"] = "sync"  # three I/O workers less; the data is in the page cache
    argv: list[str | Path] = [binary.path, "-D", data]
    for name, value in settings.items():
        argv += ["-c", f"{name}={value}"]
    return Command(argv, drop_root=True)


def valkey(data: Path, port: int) -> Command:
    """Valkey as a cache: nothing is written to disk, the least recently used goes first."""
    data.mkdir(parents=True, exist_ok=True)
    argv: list[str | Path] = [resolve("valkey").path, "--port", str(port), "--bind", "127.0.0.1"]
    argv += ["--save", "", "--appendonly", "no", "--dir", data, "--daemonize", "no"]
    argv += ["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru", "--loglevel", "notice"]
    return Command(argv)


def nats(data: Path, port: int, monitor_port: int) -> Command:
    """NATS with JetStream, its monitoring on `monitor_port`; writes its configuration into `data`."""
    data.mkdir(parents=True, exist_ok=True)
    conf = data / "nats.conf"
    write_atomic(
        conf,
        f"""# written at each start
server_name: breakwater
listen: "127.0.0.1:{port}"
http: "127.0.0.1:{monitor_port}"
jetstream {{ store_dir: "{data}", max_memory_store: 64MB, max_file_store: 2GB }}
""",
    )
    # A soft limit: the collector works harder before the lab's memory grows.
    return Command([resolve("nats").path, "-c", conf], env={"GOMEMLIMIT": "40MiB"})


def postgres_url(port: int, user: str, password: str, database: str) -> str:
    return f"postgresql://{user}:{password}@127.0.0.1:{port}/{database}"


def nginx(conf: Path, run: Path) -> Command:
    """nginx in the foreground; SIGHUP makes it read `conf` again."""
    run.mkdir(parents=True, exist_ok=True)
    argv: list[str | Path] = [resolve("nginx").path, "-p", run, "-c", conf, "-e", "stderr"]
    # Not SIGKILL: its master must tell the worker, which would hold the port.
    return Command(argv, death_signal=signal.SIGTERM)
