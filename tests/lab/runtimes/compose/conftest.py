"""What tests on a real container engine share."""

import uuid
from collections.abc import Iterator

import pytest

from tests.lab.runtimes.compose.containers import docker


@pytest.fixture
def network() -> Iterator[str]:
    name = f"breakwater-test-{uuid.uuid4().hex[:8]}"
    docker("network", "create", name)
    yield name
    docker("network", "rm", name)
