"""The environment of the lab's programs: without the user's own settings of the libraries that they use."""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping
from pathlib import Path

# A PGSSLMODE, a LOCUST_HOST or a proxy of the user's shell would change what is measured.
FOREIGN = ("PG", "LOCUST_", "CHAOSTOOLKIT_")
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def clean(environment: MutableMapping[str, str]) -> None:
    """Removes the settings of other programs, and excludes loopback from the user's HTTP proxy."""
    for name in [each for each in environment if each.startswith(FOREIGN)]:
        del environment[name]
    for name in ("no_proxy", "NO_PROXY"):
        excluded = [each for each in environment.get(name, "").split(",") if each]
        environment[name] = ",".join(dict.fromkeys([*excluded, *LOOPBACK]))


def of_child(home: Path, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """A clean copy with another home folder: ~/.locust.conf and ~/.chaostoolkit are the user's own."""
    copy = dict(environment)
    clean(copy)
    kubeconfig = Path(copy.get("HOME", "")) / ".kube" / "config"
    if "KUBECONFIG" not in copy and kubeconfig.is_file():
        copy["KUBECONFIG"] = str(kubeconfig)  # a cluster is no setting: without it there is none
    copy["HOME"] = str(home)
    return copy
