"""The rendered nginx.conf: nginx itself accepts it."""

import subprocess
from pathlib import Path

import pytest

from lab.render import nginx
from lab.runtimes.servers import commands
from lab.topology import load


@pytest.mark.parametrize("upstream_ports", [[], [18090], [18090, 18091]])
def test_nginx_accepts_the_configuration_in_any_folder(
    upstream_ports: list[int], tmp_path: Path
) -> None:
    run = tmp_path / 'Ann\'s "läb" $1 {x};' / "run" / "nginx"
    (run.parents[1] / "logs").mkdir(parents=True)
    conf = run / "nginx.conf"
    command = commands.nginx(conf, run)
    conf.write_text(nginx.render(port=18080, balances="gateway", upstream_ports=upstream_ports))
    done = subprocess.run([*map(str, command.argv), "-t"], capture_output=True, text=True)
    assert "test is successful" in done.stderr, done.stderr


def test_a_post_is_never_sent_twice_by_configuration() -> None:
    assert "non_idempotent" not in [
        word
        for line in nginx.sample(load()).splitlines()
        if "proxy_next_upstream" in line and "#" not in line
        for word in line.replace(";", "").split()
    ]
