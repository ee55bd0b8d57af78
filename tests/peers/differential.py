"""Sends the same requests to a real Toxiproxy and to ours with --strict, and compares the answers.

    python -m tests.peers.differential /path/to/toxiproxy-server

Starts both on loopback. Prints each difference; exits with code 1 if there is one.
"""

import http.client
import json
import re
import subprocess
import sys
from typing import Any

from tests.fixtures.waiting import wait_until

REAL, OURS = 28474, 28475
P, T = "/proxies", "/proxies/p/toxics"
PROXY = {"name": "p", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:9"}
LATENCY = {"type": "latency", "attributes": {"latency": 5}}

REQUESTS: list[tuple[str, str, Any]] = [
    ("GET", P, None),
    ("POST", P, b""),
    ("POST", P, b"{"),
    ("POST", P, []),
    ("POST", P, {}),
    ("POST", P, None),
    ("POST", P, {"name": "p"}),
    ("POST", P, {"name": 1, "upstream": "x"}),
    ("POST", P, {"name": "p", "upstream": "x", "listen": "nonsense"}),
    ("POST", P, {"name": "p", "upstream": "x", "enabled": "yes"}),
    ("POST", P, PROXY),
    ("POST", P, PROXY),
    ("POST", P, {"name": "q", "listen": "127.0.0.1:28474", "upstream": "x"}),
    ("POST", P, {"Name": "off", "listen": "127.0.0.1:0", "upstream": "x", "enabled": False}),
    ("GET", "/proxies/p", None),
    ("GET", "/proxies/absent", None),
    ("GET", T, None),
    ("GET", "/proxies/absent/toxics", None),
    ("POST", "/proxies/absent/toxics", LATENCY),
    ("POST", T, b"x"),
    ("POST", T, {"type": "unknown"}),
    ("POST", T, {"type": "latency", "stream": "sideways"}),
    ("POST", T, {"type": "latency", "attributes": {"latency": "1"}}),
    ("POST", T, {"type": "latency", "attributes": {"latency": 1.5}}),
    ("POST", T, {"type": "latency", "toxicity": "high"}),
    ("POST", T, {"type": "latency", "attributes": [1]}),
    ("POST", T, LATENCY),
    ("POST", T, LATENCY),
    ("POST", T, {"type": "latency", "stream": "upstream", "toxicity": 0.25}),
    ("POST", T, {"type": "latency", "name": "neg", "attributes": {"latency": -1}}),
    ("POST", T, {"type": "noop"}),
    ("POST", T, {"type": "bandwidth", "attributes": {"rate": 7, "other": 1}}),
    ("POST", T, {"type": "slow_close", "attributes": {"delay": 7}}),
    ("POST", T, {"type": "timeout", "attributes": {"timeout": 7}}),
    ("POST", T, {"type": "reset_peer", "attributes": {"timeout": 7}}),
    ("POST", T, {"type": "slicer", "attributes": {"average_size": 9, "size_variation": 2}}),
    ("POST", T, {"type": "limit_data", "attributes": {"bytes": 7}}),
    ("GET", T, None),
    ("GET", "/proxies/p/toxics/latency_downstream", None),
    ("GET", "/proxies/p/toxics/absent", None),
    ("PATCH", "/proxies/p/toxics/latency_downstream", {"attributes": {"jitter": 3}}),
    ("POST", "/proxies/p/toxics/latency_downstream", {"toxicity": 0.5, "stream": "upstream"}),
    ("PATCH", "/proxies/p/toxics/absent", {}),
    ("PATCH", "/proxies/p/toxics/latency_downstream", b"x"),
    ("DELETE", "/proxies/p/toxics/latency_downstream", None),
    ("DELETE", "/proxies/p/toxics/latency_downstream", None),
    ("PATCH", "/proxies/p", {"enabled": False}),
    ("PATCH", "/proxies/p", {"name": "other", "upstream": "127.0.0.1:10"}),
    ("POST", "/proxies/p", {"enabled": True}),
    ("PATCH", "/proxies/p", {"listen": 3}),
    ("PATCH", "/proxies/absent", {}),
    ("POST", "/reset", None),
    ("GET", P, None),
    ("POST", "/populate", [PROXY, {"name": "r", "upstream": "x", "listen": "127.0.0.1:0"}]),
    ("POST", "/populate", [{"name": "z"}]),
    ("POST", "/populate", [{"upstream": "z"}]),
    ("POST", "/populate", {}),
    ("POST", "/populate", []),
    ("DELETE", "/proxies/p", None),
    ("DELETE", "/proxies/p", None),
    ("GET", "/nowhere", None),
    ("PUT", P, None),
    ("DELETE", P, None),
]


def send(port: int, method: str, path: str, body: Any, agent: str = "differential") -> Any:
    """Returns (status, content type, JSON or text), with the selected ports replaced."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection.request(
        method, path, encoded if method in ("POST", "PATCH") else None, {"User-Agent": agent}
    )
    response = connection.getresponse()
    text = re.sub(r"127\.0\.0\.1:\d{5}", "127.0.0.1:PORT", response.read().decode())
    connection.close()
    # the two JSON decoders word their errors differently: compare only the kind
    text = re.sub(r'(bad request body): .*?(","status)', r"\1\2", text.replace('", "', '","'))
    text = text.replace('"Logger":{},', "")  # an internal field that Toxiproxy adds
    try:
        answer: Any = json.loads(text)
    except ValueError:
        answer = text
    kind = (response.headers.get("Content-Type") or "").replace("; ", ";")
    return response.status, kind, answer


def main(real_server: str) -> int:
    servers = [
        subprocess.Popen([real_server, "-port", str(REAL)], stdout=subprocess.DEVNULL),
        subprocess.Popen(
            [sys.executable, "-m", "lab.proxy", "--strict", "--port", str(OURS)],
            stdout=subprocess.DEVNULL,
        ),
    ]
    try:
        for port in (REAL, OURS):
            wait_for(port)
        different = 0
        for method, path, body in REQUESTS:
            real, ours = (send(port, method, path, body) for port in (REAL, OURS))
            if real != ours:
                different += 1
                print(f"{method} {path} {body}\n  Toxiproxy {real}\n  ours      {ours}")
        browser = [send(port, "GET", P, None, "Mozilla/5.0") for port in (REAL, OURS)]
        if browser[0] != browser[1]:
            different += 1
            print(f"browser\n  Toxiproxy {browser[0]}\n  ours      {browser[1]}")
        print(f"{len(REQUESTS) + 1 - different} of {len(REQUESTS) + 1} answers are the same")
        return 1 if different else 0
    finally:
        for server in servers:
            server.terminate()
            server.wait()


def wait_for(port: int) -> None:
    wait_until(lambda: send(port, "GET", "/version", None), "the proxy answers", not_yet=(OSError,))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
