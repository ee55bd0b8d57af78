"""Renders nginx.conf: the one public port, which balances the gateways and starts each request's trace."""

from collections.abc import Sequence

from lab.state import PORT_BASE
from lab.topology import Topology

BODY_MAX = "64k"

# $request_id has 32 hexadecimal digits: it is the trace id, and its first half is the span id.
TEMPLATE = """\
# Rendered by `lab render nginx`; edit lab/render/nginx.py.
daemon off;
worker_processes 1;
{user}pid {run}/nginx.pid;
error_log {error_log} warn;

events {{
    worker_connections 4096;
}}

http {{
    client_body_temp_path {run}/client_body;
    proxy_temp_path {run}/proxy;
    fastcgi_temp_path {run}/fastcgi;
    uwsgi_temp_path {run}/uwsgi;
    scgi_temp_path {run}/scgi;

    map $request_id $root_span {{
        "~^(?<first_half>.{{16}})" $first_half;
    }}

    # for problem answers: a path with special characters must not break the JSON
    map $uri $plain_path {{
        "~^[A-Za-z0-9/._-]*$" $uri;
    }}

    log_format lines escape=json
        '{{"time":$msec,"level":"info","service":"nginx","instance":"nginx","message":"request",'
        '"trace_id":"$request_id","span_id":"$root_span","method":"$request_method",'
        '"path":"$uri","status":$status,"bytes":$bytes_sent,"duration_s":$request_time,'
        '"upstream":"$upstream_addr","upstream_status":"$upstream_status",'
        '"upstream_duration_s":"$upstream_response_time"}}';
    access_log {access_log};

{balancing}

    server {{
        listen {listen};
        server_tokens off;
        default_type application/problem+json;
        client_max_body_size {body_max};
        keepalive_timeout 75s;
        keepalive_requests 100000;
        add_header X-Request-Id $request_id always;

        location = /health {{
            access_log off;
            default_type application/json;
            return 200 '{{"status":"ok"}}';
        }}

        location = / {{
            return 302 /api/docs;
        }}

        location /api/ {{
{pass_on}
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $remote_addr;
            # the trace starts here: a client's own trace headers are dropped
            proxy_set_header traceparent 00-$request_id-$root_span-01;
            proxy_set_header tracestate "";
            # internal headers: clients must not set them
            proxy_set_header Breakwater-Caller ingress;
            proxy_set_header Breakwater-Budget-Ms "";
            proxy_hide_header X-Request-Id;
            # nginx tries another gateway when this one cannot be reached or closes the connection. It never
            # sends a POST twice, because `non_idempotent` is not set.
            proxy_next_upstream error timeout;
            proxy_next_upstream_tries 2;
            proxy_next_upstream_timeout 2s;
            proxy_connect_timeout 1s;
            proxy_read_timeout 30s;
        }}

        location / {{
            return 404 '{not_found}';
        }}

{problems}
    }}
}}
"""

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
    return TEMPLATE.format(
        body_max=BODY_MAX,
        not_found=_problem(404, "not-found", "Not found", "The API is under /api/, see /api/docs."),
        problems="\n".join(_location(*each) for each in PROBLEMS),
        **parts,
    )


def _location(status: int, name: str, title: str, detail: str) -> str:
    # add_header in a location replaces those of the server: repeat each of them
    headers = "            add_header X-Request-Id $request_id always;\n"
    if status >= 500:
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
