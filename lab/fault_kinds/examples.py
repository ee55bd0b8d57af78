"""One example of each fault: its name, and the arguments of `lab faults add`."""

import tomllib
from pathlib import Path

EXAMPLES: dict[str, str] = tomllib.loads(Path(__file__).with_name("examples.toml").read_text())
