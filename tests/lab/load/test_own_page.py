"""Locust's page takes requests of itself only."""

import pytest
from flask import Flask

from lab.load.own_page import refuse_other_pages


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://127.0.0.1:8089"}, 200),
        ({"Origin": "https://example.org"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:9999"}, 403),
        ({"Host": "rebound.example.org:8089"}, 403),
    ],
)
def test_only_its_own_page_starts_load(headers: dict[str, str], status: int) -> None:
    app = Flask(__name__)
    refuse_other_pages(app)
    app.add_url_rule("/swarm", view_func=lambda: "started", methods=["POST"])
    answer = app.test_client().post("/swarm", headers={"Host": "127.0.0.1:8089", **headers})
    assert answer.status_code == status
