"""Reads JSON from unknown senders, so that it can be written again as valid JSON."""

from __future__ import annotations

import json
import math
import re
from typing import Any

# Possibly half of a surrogate pair. Python reads and writes it, but strict readers reject the line.
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def parse(body: bytes) -> Any:
    """The value of a JSON text. Raises ValueError if it is not JSON or is nested too deeply.

    Invalid UTF-8 and lone surrogates become replacement characters; a number that is
    not finite becomes its text.
    """
    text = body.decode("utf-8", "replace")
    try:
        value = _read(text)
        if SURROGATE.search(text):
            whole = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
            value = _read(whole.decode())
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return value


def _finite(text: str) -> float | str:
    value = float(text)
    return value if math.isfinite(value) else text


_read = json.JSONDecoder(parse_constant=str, parse_float=_finite).decode
