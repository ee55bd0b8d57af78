"""Serves the recorder's API."""

from __future__ import annotations

from pathlib import Path

import uvicorn

from lab.recorder.api.routes import create_app
from lab.recorder.recorder import Recorder


def serve(port: int, lab_dir: Path, host: str = "127.0.0.1", collector: str = "") -> None:
    """Serves until SIGTERM or SIGINT, then finishes a current recording.

    Used by `python -m lab.recorder` and by a forked child. Exits with a non-zero code if the port is in use.
    """
    uvicorn.run(
        create_app(Recorder(lab_dir, collector)),
        host=host,
        port=port,
        http="httptools",
        loop="asyncio",
        ws="none",
        lifespan="on",
        access_log=False,
        log_level="warning",
        limit_concurrency=64,
        timeout_graceful_shutdown=1,
    )
