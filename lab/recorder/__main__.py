"""`python -m lab.recorder --port P --lab-dir DIR`: serves the recorder."""

from __future__ import annotations

import argparse
from pathlib import Path

from lab.recorder.server import serve


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lab.recorder", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="port to listen on")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)"
    )
    parser.add_argument(
        "--lab-dir", type=Path, required=True, help="directory with lab.json and logs/"
    )
    parser.add_argument(
        "--collector",
        default="",
        help="OTLP/HTTP address that nginx's spans are sent to (default: record them directly)",
    )
    options = parser.parse_args()
    if not options.lab_dir.is_dir():
        parser.error(f"--lab-dir {options.lab_dir} is not a directory: start a lab with `lab up`")
    serve(options.port, options.lab_dir.resolve(), options.host, options.collector)


if __name__ == "__main__":
    main()
