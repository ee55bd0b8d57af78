"""Renders nginx.conf: the one public port, which balances the gateways and starts each request's trace."""

from collections.abc import Sequence

from lab.render.template import filled
from lab.state import PORT_BASE
from lab.topology import Topology

BODY_MAX = "64k"
# Of one address: a class with 499 shoppers logs in within 23 s. Two cores check about 60 passwords a second, and
# the gateway sheds browsing if too many log-ins are in flight.
LOGINS_PER_S, LOGINS_BURST, LOGINS_WAITING = 20, 40, 600

UPSTREAM = """\
    upstream {balances} {{
{servers}
        keepalive 64;
    }}"""

PASS_TO_UPSTREAM = "            proxy_pass http://{balances};"

# nginx resolves a name in a variable again after one second. It resolves the name of an upstream only at its
# start, and would keep the address that a container had before its restart.
RESOLVER = "    resolver 127.0.0.11 valid=1s ipv6=off;"
PASS_TO_NAME = """\
            set $balanced {balances};
            proxy_pass http://$balanced:{port};"""

PROBLEM = """\
        error_page {status} @problem_{status};
        location @problem_{status} {{
            internal;
{headers}            return {status} '{body}';
        }}
"""

PROBLEMS = (
    (400, "bad-request", "Bad request", "The request is not valid HTTP."),
    (413, "body-too-large", "Body too large", "A body may have up to 64 KiB."),
    (429, "too-many-requests", "Too many requests", "Too many log-ins from this address; wait."),
    (502, "bad-gateway", "Bad gateway", "No gateway could be reached; one may be restarting."),
    (503, "unavailable", "Unavailable", "The shop does not accept requests now; try again."),
    (504, "gateway-timeout", "Gateway timeout", "The gateway did not answer in time."),
)


def render(
    *, port: int, balances: str, upstream_ports: Sequence[int], run: str, logs: str, user: str = ""
) -> str:
    """The configuration of a lab in processes. `run` is a folder for nginx' own files; `user` is for root only.

    Without any upstream, nginx answers every request with 502.
    """
    # max_fails=0: nginx never excludes an instance after failures. A dead instance costs one refused connection;
    # exclusion after two application errors could exclude every instance at once.
    lines = [f"        server 127.0.0.1:{number} max_fails=0;" for number in upstream_ports]
    servers = "\n".join(lines) or "        server 127.0.0.1:9 down;"
    return _filled(
        user=f"user {user};\n" if user else "",
        run=run,
        error_log=f"{logs}/nginx-errors.log",
        access_log=f"{logs}/nginx.jsonl lines buffer=16k flush=200ms",
        balancing=UPSTREAM.format(balances=balances, servers=servers),
        pass_on=PASS_TO_UPSTREAM.format(balances=balances),
        listen=f"127.0.0.1:{port}",
    )


def in_containers(topology: Topology, gateways: Sequence[str] = ()) -> str:
    """The configuration of docker-compose.yml: logs on stdout and stderr, balances by the engine's DNS.

    With `gateways` (host:port, the listeners of the fault proxy) it balances these instead.
    """
    service = topology.services[topology.ingress.balances]
    servers = "\n".join(f"        server {each} max_fails=0;" for each in gateways)
    by_name = PASS_TO_NAME.format(balances=service.name, port=PORT_BASE + service.offset)
    return _filled(
        user="",
        run="/tmp",
        error_log="stderr",
        access_log="/dev/stdout lines buffer=16k flush=200ms",
        balancing=UPSTREAM.format(balances=service.name, servers=servers) if gateways else RESOLVER,
        pass_on=PASS_TO_UPSTREAM.format(balances=service.name) if gateways else by_name,
        listen=str(PORT_BASE),
    )


def _filled(**parts: str) -> str:
    return filled(
        "nginx.conf.template",
        body_max=BODY_MAX,
        logins_per_s=str(LOGINS_PER_S),
        logins_burst=str(LOGINS_BURST),
        logins_waiting=str(LOGINS_WAITING),
        not_found=_problem(404, "not-found", "Not found", "The API is under /api/, see /api/docs."),
        problems="\n".join(_location(*each) for each in PROBLEMS),
        **parts,
    )


def _location(status: int, name: str, title: str, detail: str) -> str:
    # add_header in a location replaces those of the server: repeat each of them
    headers = "            add_header X-Request-Id $request_id always;\n"
    if status >= 500 or status == 429:
        headers += "            add_header Retry-After 1 always;\n"
    return PROBLEM.format(
        status=status, headers=headers, body=_problem(status, name, title, detail)
    )


def _problem(status: int, name: str, title: str, detail: str) -> str:
    return (
        f'{{"type":"urn:breakwater:problem:{name}","title":"{title}","status":{status},'
        f'"detail":"{detail}","instance":"$plain_path","trace_id":"$request_id"}}'
    )


def sample(topology: Topology, port_base: int = 8080) -> str:
    """The configuration of a lab at `port_base`, as committed in system/deploy/nginx.conf."""
    service = topology.services[topology.ingress.balances]
    numbers = topology.ports(port_base)
    return render(
        port=numbers["nginx"],
        balances=service.name,
        upstream_ports=[numbers[f"{service.name}-{n + 1}"] for n in range(service.replicas)],
        run=f".lab/{port_base}/run/nginx",
        logs=f".lab/{port_base}/logs",
    )


def files(topology: Topology) -> dict[str, str]:
    """The committed files: a sample (a running lab renders its own), and that of the containers."""
    return {
        "system/deploy/nginx.conf": sample(topology),
        "system/deploy/nginx.compose.conf": in_containers(topology),
    }
