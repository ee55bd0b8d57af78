"""PostgreSQL, Valkey, NATS and nginx as direct children: preparation and command line of each."""

import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab.edges import ADMINS
from lab.files import write_atomic, write_private
from lab.runtimes.posix.spawn import NOBODY, must_drop_root
from lab.runtimes.servers.binaries import resolve

POSTGRES_USER, _ = ADMINS["postgres"]


class ServerFailedError(Exception):
    """A server could not be prepared. The message has the reason and advice."""


@dataclass(frozen=True)
class Command:
    """A command line and how to start it: see spawn.start."""

    argv: Sequence[str | Path]
    env: Mapping[str, str] = field(default_factory=dict)
    drop_root: bool = False
    death_signal: signal.Signals = signal.SIGKILL


class Cluster:
    """PostgreSQL's files in `data`: created beside it and renamed when complete, so never partial."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self._unfinished = data.with_name(data.name + ".unfinished")
        self._password_file = data.with_name(data.name + ".password")

    def exists(self) -> bool:
        """Raises ServerFailedError if another major version created the files."""
        try:
            made_by = (self.data / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            return False
        version = resolve("postgres").version()
        if made_by != version.split(".")[0]:
            raise ServerFailedError(
                f"{self.data} was made by PostgreSQL {made_by}, this is {version}: delete it with "
                f"`lab up --fresh`, or set LAB_POSTGRES to a program of version {made_by}"
            )
        return True

    def initdb(self, password: str) -> Command:
        """The command that creates the cluster (about 0.4 s). Call `finish` after it if it ends.

        Then, and after a cancellation, call `discard_unfinished`.
        """
        self.discard_unfinished()
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
        """Accept what initdb created if its exit code is 0. Raises ServerFailedError."""
        if code != 0:
            output = log.read_text(errors="replace")[-1000:].strip()
            raise ServerFailedError(f"initdb failed with {code}: {output}")
        self._unfinished.rename(self.data)

    def discard_unfinished(self) -> None:
        """Remove what `initdb` wrote, except a cluster that is finished."""
        self._password_file.unlink(missing_ok=True)
        shutil.rmtree(self._unfinished, ignore_errors=True)


def postgres(data: Path, port: int) -> Command:
    """PostgreSQL on a Cluster's files."""
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": "",
        "max_connections": "300",  # 10 instances per service with full pools, and the lab's own
        "shared_buffers": "16MB",
        # The lab kills processes, never the machine, so data that the kernel has is safe: fsync and full
        # pages protect nothing here. synchronous_commit stays on: a kill would lose a commit that is only in
        # the server's own buffers.
        "fsync": "off",
        "full_page_writes": "off",
        # there is no replica: fewer helper processes and less log
        "wal_level": "minimal",
        "max_wal_senders": "0",
        "max_logical_replication_workers": "0",
        "min_wal_size": "32MB",
        "max_wal_size": "256MB",
        "jit": "off",
        # the passwords are 128 random bits: key stretching would only slow each connection
        "scram_iterations": "256",
        "log_line_prefix": "%m [%p] %q%u@%d ",
        "log_checkpoints": "off",
    }
    binary = resolve("postgres")
    if binary.version().split(".")[0] in ("18", "19"):
        settings["io_method"] = "sync"  # three I/O workers fewer; the data is in the page cache
    argv: list[str | Path] = [binary.path, "-D", data]
    for name, value in settings.items():
        argv += ["-c", f"{name}={value}"]
    return Command(argv, drop_root=True)


def valkey(data: Path, port: int, users: str) -> Command:
    """Valkey as a cache: nothing is written to disk, the least recently used key is evicted first.

    `users` are the lines of its configuration with users and passwords.
    """
    data.mkdir(parents=True, exist_ok=True)
    conf = data / "valkey.conf"  # not the command line, which every user of the machine can read
    write_private(conf, users)
    argv: list[str | Path] = [resolve("valkey").path, conf]
    argv += ["--port", str(port), "--bind", "127.0.0.1"]
    argv += ["--save", "", "--appendonly", "no", "--dir", data, "--daemonize", "no"]
    argv += ["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru", "--loglevel", "notice"]
    argv += [
        "--hz",
        "1",
    ]  # its housekeeping; an expired key is never served, however seldom it runs
    return Command(argv)


def nats(data: Path, config: str, env: Mapping[str, str]) -> Command:
    """NATS with JetStream; `env` are the variables of `config`, with the passwords (lab.render.nats)."""
    data.mkdir(parents=True, exist_ok=True)
    conf = data / "nats.conf"
    write_atomic(conf, config)
    # A soft limit: Go's garbage collector works harder before memory grows.
    return Command([resolve("nats").path, "-c", conf], env={"GOMEMLIMIT": "40MiB", **env})


def nginx(conf: Path, run: Path) -> Command:
    """nginx in the foreground; it reads `conf` again on SIGHUP."""
    run.mkdir(parents=True, exist_ok=True)
    argv: list[str | Path] = [resolve("nginx").path, "-p", run, "-c", conf, "-e", "stderr"]
    # Not SIGKILL: the master must stop its worker, which would hold the port.
    return Command(argv, death_signal=signal.SIGTERM)
