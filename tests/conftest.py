"""Fixtures for all tests: `postgres`, `database`, `valkey`, `nats`, `running`; see tests/fixtures/."""

pytest_plugins = ["tests.fixtures.servers", "tests.fixtures.running"]
