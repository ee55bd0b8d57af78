"""`python -m lab.recorder --port P --lab-dir DIR`: the recorder as a process of its own."""

from __future__ import annotations

import argparse
from pathlib import Path

from lab.recorder.server import serve


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lab.recorder", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="listens on it")
    parser.add_argument("--host", default="127.0.0.1", help="and on it (default: loopback)")
    parser.add_argument("--lab-dir", type=Path, required=True, help="holds lab.json and logs/")
    parser.add_argument(
        "--collector", default="", help="OTLP/HTTP address for the ingress' spans (default: here)"
    )
    options = parser.parse_args()
    if not options.lab_dir.is_dir():
        parser.error(f"--lab-dir {options.lab_dir} is no directory: start a lab with `lab up`")
    serve(options.port, options.lab_dir.resolve(), options.host, options.collector)


if __name__ == "__main__":
    main()
