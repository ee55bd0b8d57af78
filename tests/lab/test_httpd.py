"""The HTTP server of the lab's own pages."""

import pytest

from lab.httpd import is_own_host


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1:8175", True),
        ("localhost:8175", True),
        ("[::1]:8175", True),
        ("recorder:8176", True),  # a container
        ("", True),  # HTTP/1.0, no browser
        ("rebound.example.org:8175", False),
        ("127.0.0.1.example.org", False),
        ("localhost.example.org", False),
        ("[::1", False),
    ],
)
def test_a_name_with_a_dot_is_another_host(host: str, own: bool) -> None:
    assert is_own_host(host) is own
