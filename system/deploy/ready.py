"""A container's health check: ends with 0 if `GET http://127.0.0.1:PORT/PATH` answers 200.

    python -I -S ready.py PATH     PORT is the environment's

A socket and nothing else: it starts in a few ms, and it is started every few seconds in each container.
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
