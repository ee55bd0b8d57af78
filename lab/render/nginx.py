"""Renders nginx.conf: the one public port, which balances the gateways and starts each request's trace."""

from collections.abc import Sequence
from dataclasses import dataclass

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

ERROR_PAGE = """\
        error_page {code} ={status} {page};
        location {match}{page} {{
            internal;
{headers}            return {status} '{body}';
        }}
"""


@dataclass(frozen=True)
class Problem:
    """An error that nginx itself answers.

    `code` is nginx's own code for it, if that is not the status. An `early` one may come before the path is known,
    when a named location cannot be used; other pages are named locations, which keep the request's method.
    """

    status: int
    name: str
    title: str
    detail: str
    code: int = 0
    early: bool = False


NOT_FOUND = Problem(404, "not-found", "Not found", "The API is under /api/, see /api/docs.")
PROBLEMS = (
    Problem(400, "bad-request", "Bad request", "The request is not valid HTTP.", early=True),
    Problem(405, "method-not-allowed", "Method not allowed", "Use GET, POST or DELETE."),
    Problem(411, "length-required", "Length required", "Content-Length is missing or no number."),
    Problem(413, "body-too-large", "Body too large", "A body may have up to 64 KiB."),
    Problem(414, "uri-too-long", "URI too long", "A URI may have up to 8 KiB.", early=True),
    Problem(429, "too-many-requests", "Too many requests", "Too many log-ins; wait."),
    Problem(431, "headers-too-large", "Headers too large", "A header may have 8 KiB.", code=494),
    Problem(500, "internal-error", "Internal error", "An error of nginx; see its log."),
    Problem(501, "not-implemented", "Not implemented", "This transfer coding is not supported."),
    Problem(502, "bad-gateway", "Bad gateway", "No gateway answered; one may be restarting."),
    Problem(503, "unavailable", "Unavailable", "The shop accepts no requests now; try again."),
    Problem(504, "gateway-timeout", "Gateway timeout", "The gateway did not answer in time."),
    Problem(505, "version-not-supported", "Version not supported", "Use HTTP/1.1.", early=True),
)


def render(*, port: int, balances: str, upstream_ports: Sequence[int], user: str = "") -> str:
    """The configuration of a lab in processes; `user` is for root only.

    Its paths are relative to nginx's prefix, the lab's folder run/nginx: that path may have any character.
    Without any upstream, nginx answers every request with 502.
    """
    # max_fails=0: nginx never excludes an instance after failures. A dead instance costs one refused connection;
    # exclusion after two application errors could exclude every instance at once.
    lines = [f"        server 127.0.0.1:{number} max_fails=0;" for number in upstream_ports]
    servers = "\n".join(lines) or "        server 127.0.0.1:9 down;"
    return _filled(
        user=f"user {user};\n" if user else "",
        run="",
        error_log="../../logs/nginx-errors.log",
        access_log="../../logs/nginx.jsonl lines buffer=16k flush=200ms",
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
        run="/tmp/",
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
        not_found=_body(NOT_FOUND),
        problems="\n".join(map(_error_page, PROBLEMS)),
        **parts,
    )


def _error_page(problem: Problem) -> str:
    status = problem.status
    # add_header in a location replaces those of the server: repeat each of them
    headers = ["X-Request-Id $request_id"]
    if status in (429, 502, 503, 504):
        headers.append("Retry-After 1")
    if status == 405:
        headers.append('Allow "GET, POST, DELETE"')
    return ERROR_PAGE.format(
        code=problem.code or status,
        status=status,
        match="= " if problem.early else "",
        page=f"/problem/{status}" if problem.early else f"@problem_{status}",
        headers="".join(f"            add_header {each} always;\n" for each in headers),
        body=_body(problem),
    )


def _body(problem: Problem) -> str:
    return (
        f'{{"type":"urn:breakwater:problem:{problem.name}","title":"{problem.title}",'
        f'"status":{problem.status},"detail":"{problem.detail}",'
        '"instance":"$plain_path","trace_id":"$request_id"}'
    )


def sample(topology: Topology, port_base: int = 8080) -> str:
    """The configuration of a lab at `port_base`, as committed in system/deploy/nginx.conf."""
    service = topology.services[topology.ingress.balances]
    numbers = topology.ports(port_base)
    return render(
        port=numbers["nginx"],
        balances=service.name,
        upstream_ports=[numbers[f"{service.name}-{n + 1}"] for n in range(service.replicas)],
    )


def files(topology: Topology) -> dict[str, str]:
    """The committed files: a sample (a running lab renders its own), and that of the containers."""
    return {
        "system/deploy/nginx.conf": sample(topology),
        "system/deploy/nginx.compose.conf": in_containers(topology),
    }
