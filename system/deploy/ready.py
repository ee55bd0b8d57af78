"""A container's health check: exit code 0 if `GET http://127.0.0.1:PORT/PATH` is answered with 200.

    python -I -S ready.py PATH     PORT comes from the environment

It uses only a socket, so that it starts in a few ms: the engine starts it every few seconds in each container.
"""

import os
import socket
import sys

try:
    with socket.create_connection(("127.0.0.1", int(os.environ["PORT"])), timeout=2) as link:
        link.sendall(f"GET {sys.argv[1]} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        status = link.recv(64).split(b" ", 2)[1]
except (OSError, IndexError) as error:
    sys.exit(f"no answer: {error}")
if status != b"200":
    sys.exit(f"answered {status.decode()}")
