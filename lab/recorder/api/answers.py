"""Builds the API's answers."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response


def json_answer(content: dict[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(content), status, media_type="application/json")
