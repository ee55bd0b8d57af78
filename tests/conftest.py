"""Fixtures for all tests: `postgres`, `database`, `valkey`, `nats`; see tests/fixtures/."""

pytest_plugins = ["tests.fixtures.servers"]
