"""Renders Valkey's users: each service may use the keys below its own name, with the commands of chassis.cache."""

from lab.edges import ADMINS, users_of
from lab.topology import Topology

FILE = "system/deploy/stores/valkey.sh"
# SCAN is for the fault `flush`; the client sends CLIENT SETINFO with each connection
COMMANDS = "+get +set +del +scan +ping +client|setinfo"
ADMIN_COMMANDS = "+ping +info"  # lab.watch
SCRIPT = """\
# Rendered by `lab render valkey`; edit lab/render/valkey.py.
# Valkey reads its users from standard input: their passwords are in no file and on no command line.
exec valkey-server - --save "" --appendonly no --maxmemory 12mb --maxmemory-policy allkeys-lru <<END
{users}END
"""


def users(topology: Topology) -> str:
    """The lines of valkey.conf; `$VALKEY_PASSWORD_PRODUCTS` stands for a password. No user is anonymous."""
    admin, _ = ADMINS["valkey"]
    lines = ["user default off"]
    for name, variable in users_of("valkey", topology).items():
        rights = ADMIN_COMMANDS if name == admin else f"~{name}:* {COMMANDS}"
        lines.append(f"user {name} on >${variable} -@all {rights}")
    return "\n".join(lines) + "\n"


def files(topology: Topology) -> dict[str, str]:
    """What starts Valkey in its container."""
    return {FILE: SCRIPT.format(users=users(topology))}
