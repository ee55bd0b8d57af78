"""Fixtures for all tests; their docstrings are in tests/fixtures/."""

pytest_plugins = [
    "tests.fixtures.servers",
    "tests.fixtures.running",
    "tests.fixtures.subjects",
    "tests.fixtures.mesh",
]
